//! What of HTTP/1.1 is needed here: to find the end of a message's head, and to look into it.

use bytes::{Bytes, BytesMut};
use httparse::Header;

/// A head of more bytes than this is refused.
pub const HEAD_LEN_MAX: usize = 8 * 1024;
/// A head of more header fields than this is refused.
pub const HEADERS_MAX: usize = 64;

const END: &[u8] = b"\r\n\r\n";

/// Why something isn't the head of an HTTP message that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// More than [`HEAD_LEN_MAX`] bytes.
    #[error("a head of more than 8 KiB")]
    TooLong,
    /// More than [`HEADERS_MAX`] header fields.
    #[error("more than 64 header fields")]
    TooManyHeaders,
    /// Not HTTP, or not as RFC 9112 writes it.
    #[error("not the head of an HTTP/1.1 message")]
    Malformed,
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyHeaders,
            _ => Self::Malformed,
        }
    }
}

/// Waits for the head of a message, and looks at each byte once: who sends byte by byte costs no
/// more than who sends all at once.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    /// Bytes in which no head ends.
    scanned: usize,
}

impl HeadScanner {
    /// Takes the head off the front of the input once it is whole; until then the input has to stay
    /// as it is.
    pub(crate) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, HeadError> {
        // A head begins with a method or with "HTTP": something else need not be waited for.
        if input.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
            return Err(HeadError::Malformed);
        }
        let from = self.scanned.saturating_sub(END.len() - 1).min(input.len());
        let searched = input.get(from..input.len().min(HEAD_LEN_MAX)).unwrap_or_default();
        let Some(found) = searched.windows(END.len()).position(|window| window == END) else {
            self.scanned = input.len();
            return if input.len() >= HEAD_LEN_MAX { Err(HeadError::TooLong) } else { Ok(None) };
        };
        self.scanned = 0;
        Ok(Some(input.split_to(from + found + END.len()).freeze()))
    }
}

/// The head of an answer, parsed.
pub(crate) struct Answer<'b, 'h> {
    pub(crate) status: u16,
    pub(crate) headers: &'h [Header<'b>],
}

/// Reads the head of an answer that was found whole.
pub(crate) fn parse_answer<'b, 'h>(
    head: &'b [u8],
    headers: &'h mut [Header<'b>; HEADERS_MAX],
) -> Result<Answer<'b, 'h>, HeadError> {
    let mut response = httparse::Response::new(headers);
    let parsed = response.parse(head)?;
    // A head that ends earlier has line feeds alone, and what follows would be read as something
    // else than the peer meant.
    if parsed != httparse::Status::Complete(head.len()) {
        return Err(HeadError::Malformed);
    }
    let status = response.code.ok_or(HeadError::Malformed)?;
    Ok(Answer { status, headers: response.headers })
}

/// All values of a header field, in order.
pub(crate) fn values<'a>(
    headers: &'a [Header<'_>],
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|h| h.value)
}

/// The value of a field that stands once; `None` if it is missing, repeated, or not ASCII.
pub(crate) fn single<'a>(headers: &'a [Header<'_>], name: &'a str) -> Option<&'a str> {
    let mut values = values(headers, name);
    let value = values.next()?;
    if values.next().is_some() || !value.is_ascii() {
        return None;
    }
    Some(str::from_utf8(value).ok()?.trim_ascii())
}

/// The members of a field that is a list, over all lines that it is spread on.
pub(crate) fn tokens<'a>(
    headers: &'a [Header<'_>],
    name: &'a str,
) -> impl Iterator<Item = &'a str> {
    values(headers, name)
        .filter_map(|value| str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .map(str::trim_ascii)
        .filter(|token| !token.is_empty())
}

/// Whether a field that is a list has this member, in any case.
pub(crate) fn has_token(headers: &[Header<'_>], name: &str, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// Whether a message announces something behind its head.
pub(crate) fn has_body(headers: &[Header<'_>]) -> bool {
    let length = |value: &[u8]| value.trim_ascii() != b"0";
    values(headers, "Transfer-Encoding").next().is_some()
        || values(headers, "Content-Length").any(length)
}

/// Whether a text may stand in a request line or as a host: visible ASCII, so that nobody adds
/// lines to a head by what they name.
pub(crate) fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text may be the name of a header field.
pub(crate) fn is_field_name(text: &str) -> bool {
    let symbol = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || symbol(byte))
}

/// Whether a text may be the value of a header field.
pub(crate) fn is_field_value(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}
