//! Until when the certificates and lists of a listener are of use, in words for the operator.

use dunlin_transport::tls::{Dated, ServerTls, Validity};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long before something ends it is warned of.
const WARNED_BEFORE_SECS: i64 = 14 * 24 * 60 * 60;

/// How near the end of something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    Far,
    Near,
    Over,
}

impl Urgency {
    /// Of what is of use until then, in seconds since 1970.
    pub(super) const fn of(until: i64, now: i64) -> Self {
        match until.saturating_sub(now) {
            ..0 => Self::Over,
            0..WARNED_BEFORE_SECS => Self::Near,
            _ => Self::Far,
        }
    }
}

/// What a date means, in a line.
pub(super) fn words(validity: &Validity, urgency: Urgency, accepts_old_crl: bool) -> String {
    let path = validity.path.display();
    match (validity.dated, urgency) {
        (Dated::RevocationList, Urgency::Far) => {
            format!("{path}: a newer revocation list is due at {validity}")
        }
        (Dated::RevocationList, Urgency::Near) => {
            format!("{path}: a newer revocation list is due soon: {validity}")
        }
        (Dated::RevocationList, Urgency::Over) if accepts_old_crl => format!(
            "{path}: a newer revocation list was due at {validity}; this one still counts, since \
             old_crl = accept"
        ),
        (Dated::RevocationList, Urgency::Over) => format!(
            "{path}: a newer revocation list was due at {validity}; until it is there nobody gets \
             in by a certificate (old_crl = accept would let this one count)"
        ),
        (_, Urgency::Far) => format!("{path}: a certificate ends at {validity}"),
        (_, Urgency::Near) => format!("{path}: a certificate ends soon: {validity}"),
        (_, Urgency::Over) => {
            format!("{path}: a certificate has ended at {validity}; put one there that is valid")
        }
    }
}

/// What of a listener has ended, or will soon, each in a line.
pub(crate) fn date_warnings(tls: &ServerTls) -> Vec<String> {
    let (now, accepts_old_crl) = (now_secs(), tls.files().accepts_old_crl);
    let dated = tls.validities().iter();
    let dated = dated.map(|validity| (validity, Urgency::of(validity.until, now)));
    let pressing = dated.filter(|(_, urgency)| *urgency != Urgency::Far);
    pressing.map(|(validity, urgency)| words(validity, urgency, accepts_old_crl)).collect()
}

/// Seconds since 1970.
pub(super) fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
