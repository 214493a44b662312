//! JSON Web Tokens as passwords: the keys are read at start, and again when that is asked for, or
//! fetched from their issuer.

use super::chain::{Answer, Bulkhead, Candidate, Method, Why};
use super::issuer::Issuer;
use super::vouched::{self, Unvouched};
use crate::config::Config;
use crate::core::Grant;
use crate::trusted_file::{self, Fault};
use dunlin_identity::jwks::{self, InvalidKeySet, Timing};
use dunlin_identity::jwt::{
    Algorithm, InvalidKey, JwtError, JwtRules, KeySet, Presented, TOKEN_LEN_MAX, VerificationKey,
    is_token,
};
use dunlin_protocol::codec::ReasonCode;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// Bytes that a file of keys may have.
const FILE_LEN_MAX: usize = jwks::SET_LEN_MAX;

/// Why a file of keys for tokens is of no use: the file, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It can't be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anybody on the machine could make tokens.
    #[error("{}: everybody may write to it; say chmod o-w", .0.display())]
    WorldWritable(PathBuf),
    /// It is larger than keys are.
    #[error("{}: the file has more than {} KiB", .0.display(), FILE_LEN_MAX >> 10)]
    TooLarge(PathBuf),
    /// A key is wrong.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidKey,
    },
    /// It is a key set, and a wrong one.
    #[error("{}: {source}", path.display())]
    KeySet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidKeySet,
    },
    /// Algorithms with a secret are set, and this is something that others may know.
    #[error("{}: a public key is no secret; name algorithms like RS256 for it", .0.display())]
    NoSecret(PathBuf),
    /// No key is for an algorithm that is set.
    #[error("{}: none of the keys is for one of auth.jwt.algorithms", .0.display())]
    OtherAlgorithms(PathBuf),
    /// The system gave no thread to fetch keys.
    #[error("a thread to fetch keys can't be started")]
    Thread(#[source] io::Error),
}

/// Who checks tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    rules: JwtRules,
    /// Whether anybody heeds rules that come with a token.
    heeds_rules: bool,
    keys: Keys,
}

/// Where keys come from.
#[derive(Debug)]
enum Keys {
    File { path: PathBuf, set: RwLock<Arc<KeySet>> },
    Issuer(Issuer),
}

impl Tokens {
    /// Reads the keys that a configuration names, if it names some, or has them fetched.
    pub(super) fn read(config: &Config) -> Result<Option<Self>, KeyFileError> {
        let jwt = &config.auth.jwt;
        let keys = match (&jwt.key_file, &jwt.jwks_url) {
            (Some(path), _) => Keys::File { path: path.clone(), set: RwLock::default() },
            (None, Some(url)) => {
                let issuer = Issuer::start(url, &jwt.algorithms, Timing::default());
                Keys::Issuer(issuer.map_err(KeyFileError::Thread)?)
            }
            (None, None) => return Ok(None),
        };
        let mut rules = JwtRules::new(&jwt.algorithms);
        rules.audiences.clone_from(&jwt.audience);
        rules.issuers.clone_from(&jwt.issuer);
        let heeds_rules = config.rights.file.is_some();
        let tokens = Self { rules, heeds_rules, keys };
        tokens.reload()?;
        Ok(Some(tokens))
    }

    /// Reads the keys again, and gives how many there are, or has them fetched. What is in force
    /// stays so if the file is of no use.
    pub(crate) fn reload(&self) -> Result<Option<usize>, KeyFileError> {
        match &self.keys {
            Keys::File { path, set } => {
                let keys = read_keys(path, &self.rules.algorithms)?;
                let len = keys.len();
                *set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                Ok(Some(len))
            }
            Keys::Issuer(issuer) => {
                issuer.ask_again();
                Ok(None)
            }
        }
    }

    /// The keys in force.
    fn keys(&self) -> Option<Arc<KeySet>> {
        match &self.keys {
            Keys::File { set, .. } => {
                Some(set.read().unwrap_or_else(PoisonError::into_inner).clone())
            }
            Keys::Issuer(issuer) => issuer.keys(),
        }
    }

    /// What is to be said of a token; `now` is the time since 1970.
    fn check(&self, now: Duration, token: &[u8], candidate: &Candidate) -> Answer {
        let unavailable = |why| Answer::deny(ReasonCode::ServerUnavailable, why);
        let Some(keys) = self.keys() else {
            return unavailable("the keys of tokens could not be fetched");
        };
        let presented = Presented {
            user_name: candidate.login.user_name.as_deref(),
            client_identifier: &candidate.login.client_identifier,
        };
        let verified = match self.rules.verify(now.as_secs(), token, &keys, presented) {
            Ok(verified) => verified,
            Err(error) => {
                // A new key of the issuer perhaps, and no fault of the Client.
                if let (JwtError::UnknownKey, Keys::Issuer(issuer)) = (&error, &self.keys) {
                    issuer.ask_again();
                    return unavailable("the key of the token is not known yet");
                }
                return refusal(&error);
            }
        };
        let (rules, heeds_rules) = (verified.rules.as_ref(), self.heeds_rules);
        let identity =
            vouched::identity(verified.user.as_str(), &verified.groups, rules, heeds_rules);
        let identity = match identity {
            Ok(identity) => identity,
            Err(error) => {
                let why = match error {
                    Unvouched::Name => "a name in the token is not legal",
                    Unvouched::Unheeded => {
                        "the token has the claim `rules`, which counts beside a rights.file alone"
                    }
                    Unvouched::Rules => "the claim `rules` of the token is not legal",
                };
                return Answer::deny(ReasonCode::NotAuthorized, why);
            }
        };
        let left = Duration::from_secs(verified.expires_at).saturating_sub(now);
        Answer::Allow(Grant { expires_at: Some(candidate.now() + left), ..Grant::of(identity) })
    }
}

/// Reads a file of keys of which at least one must serve one of the algorithms.
pub(crate) fn read_keys(path: &Path, algorithms: &[Algorithm]) -> Result<KeySet, KeyFileError> {
    let is_symmetric = algorithms.iter().any(|algorithm| algorithm.is_symmetric());
    let text = read_file(path, is_symmetric)?;
    let path = || path.to_owned();
    let wrong = |source| KeyFileError::Key { path: path(), source };
    let is_set = text.trim_ascii_start().starts_with(b"{");
    let keys = match (is_symmetric, is_set) {
        (true, _) if is_set || text.windows(10).any(|at| at == b"-----BEGIN") => {
            return Err(KeyFileError::NoSecret(path()));
        }
        (true, _) => {
            // An editor's end of line is no part of it.
            let secret = text.strip_suffix(b"\n").unwrap_or(&text);
            let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
            KeySet::new(vec![VerificationKey::from_secret(secret).map_err(wrong)?])
        }
        (false, true) => {
            jwks::parse(&text).map_err(|source| KeyFileError::KeySet { path: path(), source })?
        }
        (false, false) => KeySet::from_pem(&text).map_err(wrong)?,
    };
    match algorithms.iter().any(|algorithm| keys.serves(*algorithm)) {
        true => Ok(keys),
        false => Err(KeyFileError::OtherAlgorithms(path())),
    }
}

fn read_file(path: &Path, is_secret: bool) -> Result<Vec<u8>, KeyFileError> {
    let unreadable = |source| KeyFileError::Unreadable { path: path.to_owned(), source };
    let file = trusted_file::read(path, FILE_LEN_MAX).map_err(|fault| match fault {
        Fault::Unreadable(source) => unreadable(source),
        Fault::WorldWritable => KeyFileError::WorldWritable(path.to_owned()),
    })?;
    if is_secret && file.is_public {
        let path = path.display();
        tracing::warn!("{path}: everybody may read the secret and make tokens; say chmod o-r");
    }
    if file.bytes.len() > FILE_LEN_MAX {
        return Err(KeyFileError::TooLarge(path.to_owned()));
    }
    Ok(file.bytes)
}

/// What a Client is told, and the log, of a token that is no login. The log has the names of claims, and
/// of settings, and nothing that the token says.
fn refusal(error: &JwtError) -> Answer {
    let why = Why::Owned(match error {
        JwtError::Algorithm(algorithm) => {
            format!("the token's algorithm, {algorithm}, is none of auth.jwt.algorithms")
        }
        JwtError::Audience => format!("{error}; auth.jwt.audience has none of these"),
        JwtError::Issuer => format!("{error}; auth.jwt.issuer does not have it"),
        error => error.to_string(),
    });
    match error {
        // Its signature was right: nobody has guessed.
        JwtError::Expired | JwtError::NotYet => Answer::Lapsed(why),
        JwtError::ClientIdentifier(_) => Answer::Deny(ReasonCode::NotAuthorized, why),
        _ => Answer::Deny(ReasonCode::BadUserNameOrPassword, why),
    }
}

impl Method for Arc<Tokens> {
    fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer> {
        let token = candidate.login.password.as_deref().unwrap_or_default();
        if !is_token(token) {
            return Some(Answer::NotMine);
        }
        // What can't be right does not wait, for the queue would have to hold it.
        (token.len() > TOKEN_LEN_MAX).then_some(refusal(&JwtError::TooLong))
    }

    fn answer(&self, candidate: &Candidate) -> Answer {
        let token = candidate.login.password.as_deref().unwrap_or_default();
        if !is_token(token) {
            return Answer::NotMine;
        }
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(now) => self.check(now, token, candidate),
            Err(_) => Answer::deny(ReasonCode::ServerUnavailable, "nobody knows what time it is"),
        }
    }

    /// Signatures take a fraction of a millisecond.
    fn bulkhead(&self) -> Option<Bulkhead> {
        Some(Bulkhead { name: "token", threads: 1, may_hang: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    const SECRET: &[u8] = b"a secret of more than 32 bytes, well kept";
    const NOW: Duration = Duration::from_secs(1_000_000_000);

    fn tokens() -> Tokens {
        let mut rules = JwtRules::new(&[Algorithm::Hs256]);
        rules.audiences = vec!["broker".to_owned()];
        rules.issuers = vec!["https://id.example.org".to_owned()];
        let key = VerificationKey::from_secret(SECRET).expect("long enough");
        let set = RwLock::new(Arc::new(KeySet::new(vec![key])));
        Tokens { rules, heeds_rules: true, keys: Keys::File { path: PathBuf::new(), set } }
    }

    fn token(header: &str, claims: &str, secret: &[u8]) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let message = format!("{header}.{claims}");
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn check(token: &str) -> Answer {
        let candidate = Candidate::local(Some("gauge"), Some(token.as_bytes()));
        tokens().check(NOW, token.as_bytes(), &candidate)
    }

    #[test]
    fn a_refusal_names_the_claim_and_nothing_that_the_token_says() {
        const HEADER: &str = r#"{"alg":"HS256"}"#;
        let good =
            r#"{"sub":"gauge","exp":1000000060,"aud":"broker","iss":"https://id.example.org"}"#;
        assert!(matches!(check(&token(HEADER, good, SECRET)), Answer::Allow(_)));
        for (from, to, expected) in [
            (r#""exp":1000000060,"#, "", "the claim `exp` is missing"),
            (r#""sub":"gauge","#, "", "the claim `sub` is missing"),
            (r#""aud":"broker","#, "", "the claim `aud` is missing"),
            (r#","iss":"https://id.example.org""#, "", "the claim `iss` is missing"),
            ("1000000060", r#""tomorrow""#, "the claim `exp` is of the wrong type"),
            ("1000000060", "999999960", "the token has expired, by its claim `exp`"),
            (r#""exp""#, r#""nbf":1000000050,"exp""#, "by its claim `nbf`"),
            ("broker", "sesame", "by its claim `aud`; auth.jwt.audience has none of these"),
            ("id.", "sesame.", "by its claim `iss`; auth.jwt.issuer does not have it"),
            ("gauge", "sesame", "for another user name, by its claim `sub`"),
            ("gauge", "sesame\\u0000", "a name in the claim `sub` is not legal"),
            (r#""exp""#, r#""groups":["sesame",""],"exp""#, "a name in the claim `groups`"),
            (
                r#""exp""#,
                r#""client_identifier":"sesame","exp""#,
                "by its claim `client_identifier`",
            ),
            (
                r#""exp""#,
                r#""rules":["sesame"],"exp""#,
                "the claim `rules` of the token is not legal",
            ),
            ("}", r#","sub":"sesame"}"#, "the claims are not an object, or one is there twice"),
        ] {
            let claims = good.replace(from, to);
            assert_ne!(claims, good, "{from}");
            match check(&token(HEADER, &claims, SECRET)) {
                Answer::Deny(_, why) | Answer::Lapsed(why) => {
                    assert!(why.contains(expected), "{claims}: {why}");
                    assert!(!why.contains("sesame"), "{why}");
                }
                answer => panic!("{claims}: {answer:?}"),
            }
        }
        for (header, secret, expected) in [
            (HEADER, &b"another secret of more than 32 bytes"[..], "the signature is wrong"),
            (r#"{"alg":"HS512"}"#, SECRET, "HS512, is none of auth.jwt.algorithms"),
            (r#"{"alg":"none"}"#, SECRET, "the header of the token is not legal"),
        ] {
            let answer = check(&token(header, good, secret));
            let Answer::Deny(_, why) = answer else { panic!("{header}: {answer:?}") };
            assert!(why.contains(expected), "{header}: {why}");
        }
    }
}
