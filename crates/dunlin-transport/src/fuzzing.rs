//! Bodies of fuzz targets: they panic where a cut of the stream changes what comes out of it, or
//! where something is held that nobody has sent.

use bytes::BytesMut;

use crate::HEAD_LEN_MAX;
use crate::connect_proxy::ConnectProxy;
use crate::proxy_header;
use crate::socks5::Socks5;
use crate::websocket::upgrade::{ClientUpgrade, Origins, Policy, Request, ServerUpgrade};
use crate::websocket::{End, Role, WebSocket};

/// What a stream of frames becomes.
#[derive(Debug, PartialEq, Eq)]
struct Stream {
    payload: Vec<u8>,
    end: Option<End>,
    owed: BytesMut,
}

/// The first byte says in which pieces the rest comes, as frames for a server and for a client.
pub fn websocket_frames(data: &[u8]) {
    let Some((piece_len, frames)) = data.split_first() else { return };
    let piece_len = usize::from(*piece_len).max(1);
    for role in [Role::Server, Role::Client] {
        let whole = decode(role, frames, usize::MAX);
        assert_eq!(decode(role, frames, piece_len), whole, "{role:?}, pieces of {piece_len}");
        assert_eq!(decode(role, frames, 1), whole, "{role:?}, byte by byte");
        round_trip(role, &whole.payload, piece_len);
    }
}

fn decode(role: Role, frames: &[u8], piece_len: usize) -> Stream {
    let mut web_socket = WebSocket::new(role);
    let mut stream = Stream { payload: Vec::new(), end: None, owed: BytesMut::new() };
    for piece in frames.chunks(piece_len) {
        let mut piece = piece.to_vec();
        let decoded = web_socket.decode(&mut piece);
        assert!(decoded.len <= piece.len(), "more payload than input");
        assert!(stream.end.is_none() || decoded.len == 0, "payload after the end");
        stream.payload.extend_from_slice(&piece[..decoded.len]);
        stream.end = decoded.end;
    }
    let key = (role == Role::Client).then_some([1, 2, 3, 4]);
    assert_eq!(web_socket.owes_control(), web_socket.poll_control(key, &mut stream.owed));
    assert!(stream.owed.len() <= 131 && stream.owed.len() <= frames.len() + 6, "owed too much");
    assert!(!web_socket.poll_control(key, &mut stream.owed), "owed twice");
    assert_eq!(web_socket.has_sent_close(), stream.end.is_some());
    stream
}

/// What one end encodes the other one decodes.
fn round_trip(role: Role, payload: &[u8], piece_len: usize) {
    let (mut sender, peer) = match role {
        Role::Server => (WebSocket::new(Role::Server), Role::Client),
        Role::Client => (WebSocket::new(Role::Client), Role::Server),
    };
    let key = (role == Role::Client).then_some([0x9f, 0, 0x41, 7]);
    let mut wire = BytesMut::new();
    for piece in payload.chunks(piece_len * 7) {
        assert!(sender.encode(piece, key, &mut wire));
    }
    let received = decode(peer, &wire, piece_len);
    assert_eq!(received, Stream { payload: payload.to_vec(), end: None, owed: BytesMut::new() });
}

/// The bytes as request of an upgrade, as its answer, and as answers of proxies: whole, and byte by
/// byte.
pub fn http_head(data: &[u8]) {
    let origins = Origins::new(["https://a.test"]).unwrap_or_default().with_loopback(true);
    let policy = Policy { origins, ..Policy::default() };
    check_head(data, || {
        let mut upgrade = ServerUpgrade::new();
        let policy = &policy;
        move |input| {
            let mut output = BytesMut::new();
            let result = upgrade.handle_input(input, policy, &mut output);
            assert_eq!(output.is_empty(), result == Ok(None), "an answer for each result");
            (result != Ok(None)).then_some((result, output))
        }
    });
    check_head(data, || {
        let request = Request { host: "a.test", path: "/mqtt", headers: &[] };
        let upgrade = ClientUpgrade::new(&request, *b"the sample nonce", &mut BytesMut::new());
        let mut upgrade = upgrade.expect("a valid request");
        move |input| Some(upgrade.handle_input(input)).filter(|result| *result != Ok(false))
    });
    check_head(data, || {
        let proxy = ConnectProxy::new("a.test", 1883, None, &mut BytesMut::new());
        let mut proxy = proxy.expect("a valid request");
        move |input| Some(proxy.handle_input(input)).filter(|result| *result != Ok(false))
    });
    check_head(data, || {
        let mut output = BytesMut::new();
        let proxy = Socks5::new("a.test", 1883, Some(("user", "password")), &mut output);
        let mut proxy = proxy.expect("a valid request");
        move |input| {
            let result = proxy.handle_input(input, &mut output);
            (result != Ok(false)).then(|| (result, output.split()))
        }
    });
}

/// Feeds the data to a machine whole and byte by byte: result and rest have to be the same.
fn check_head<T, M>(data: &[u8], mut machine: impl FnMut() -> M)
where
    T: std::fmt::Debug + PartialEq,
    M: FnMut(&mut BytesMut) -> Option<T>,
{
    let mut whole = BytesMut::from(data);
    let expected = machine()(&mut whole);
    let mut input = BytesMut::new();
    let mut result = None;
    let mut handle = machine();
    for byte in data {
        input.extend_from_slice(&[*byte]);
        if result.is_none() {
            result = handle(&mut input);
            assert!(result.is_some() || input.len() < HEAD_LEN_MAX, "waits beyond the bound");
        }
    }
    assert_eq!(result, expected);
    assert_eq!(input, whole, "the same is left over");
}

/// The bytes as a PROXY header: what is sure of the beginning stays so with the rest.
pub fn proxy_header(data: &[u8]) {
    let whole = proxy_header::parse(data);
    for len in 0..data.len().min(5000) {
        match proxy_header::parse(&data[..len]) {
            Ok(None) => assert!(len < 16 + usize::from(proxy_header::V2_LEN_MAX), "waits for ever"),
            result => {
                assert_eq!(result, whole, "the first {len} bytes");
                break;
            }
        }
    }
    if let Ok(Some((header, len))) = whole {
        assert!(len <= data.len(), "longer than what came");
        let name = header.tls().and_then(|tls| tls.verified_common_name());
        for text in [name, header.authority()].into_iter().flatten() {
            assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
        }
    }
}
