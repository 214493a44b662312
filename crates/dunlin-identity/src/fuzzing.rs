//! The bodies of the fuzz targets. Not part of the interface: they change as they please.

use crate::UserName;
use crate::certificate::CertificateField;
use crate::hook;
use crate::jwks;
use crate::jwt::{Algorithm, JwtRules, KeySet, Presented, VerificationKey, is_token};
use crate::password_file::{
    Cost, EditError, PasswordChecker, PasswordFile, Verdict, remove_user, set_password,
};
use crate::scram::{ClientStart, Credentials, Mechanism, NONCE_LEN, ScramServer, ServerState};
use std::sync::OnceLock;

/// Any bytes as a token, as claims under a good signature, and as a key set or certificate.
pub fn jwt(data: &[u8]) {
    const SECRET: &[u8; 32] = b"this secret signs in tests alone";
    const NOW: u64 = 1_800_000_000;
    let Ok(key) = VerificationKey::from_secret(SECRET) else { return };
    let keys = KeySet::new(vec![key]);
    let rules = JwtRules::new(&Algorithm::ALL);
    let result = rules.verify(NOW, data, &keys, Presented::default());
    assert!(result.is_err(), "nobody can sign without the key");
    assert!(is_token(data) || result == Err(crate::jwt::JwtError::NotAToken));

    let token = signed(SECRET, data);
    if let Ok(verified) = rules.verify(NOW, token.as_bytes(), &keys, Presented::default()) {
        assert!(verified.expires_at > NOW);
        assert!(UserName::new(verified.user.as_str()).is_ok());
        assert_eq!(verified.client_identifier.as_deref().unwrap_or_default(), "");
    }
    if let Ok(set) = jwks::parse(data) {
        assert!((1..=jwks::KEYS_MAX).contains(&set.len()));
        assert!(set.keys().iter().all(|key| !key.serves(Algorithm::Hs256)));
    }
    let _ = VerificationKey::from_pem(data);
    for field in [CertificateField::CommonName, CertificateField::Dns, CertificateField::Subject] {
        let _ = field.user(data);
    }
}

fn signed(secret: &[u8], claims: &[u8]) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", part(br#"{"alg":"HS256"}"#), part(claims));
    let tag = crate::hash::Hash::Sha256.hmac(secret, &[message.as_bytes()]);
    format!("{message}.{}", part(&tag))
}

/// The first line feed separates a client's first message from its second: nobody gets in without
/// the password, and nothing is told of who is known.
pub fn scram_server(data: &[u8]) {
    let (first, last) = split(data);
    // Made once: hashing would be most of what a run does.
    static KNOWN: OnceLock<Option<Credentials>> = OnceLock::new();
    let known = KNOWN
        .get_or_init(|| Credentials::derive(Mechanism::SHA_256, b"pencil", &[1; 16], 4_096).ok());
    let find = |user: &UserName| known.as_ref().filter(|_| user.as_str() == "user");
    let server = ScramServer::new(Mechanism::SHA_256, &[2; 32]);
    let answer = server.begin(first, find, &[3; NONCE_LEN]);
    if let Ok(challenge) = &answer {
        let result = server.finish(&challenge.state, last, find);
        assert!(result.is_err(), "nobody proves the password by chance");
        let other = server.begin(first, |_| None, &[3; NONCE_LEN]);
        let len = other.map(|challenge| challenge.data.len());
        assert_eq!(len, Ok(challenge.data.len()), "known and unknown look alike");
    }
    let _ = server.finish(&ServerState::from_bytes(first), last, find);
    let _ = Credentials::parse(&String::from_utf8_lossy(data));
}

/// The first line feed separates a server's first message from its second: it is never believed
/// to know the password.
pub fn scram_client(data: &[u8]) {
    let (first, last) = split(data);
    let start = ClientStart::new(Mechanism::SHA_512, "user", b"pencil", &[1; NONCE_LEN]);
    let Ok(client) = start else { return };
    // So that an input can go on, a first message without the nonce gets it.
    let nonce = client.message()[b"n,,n=user,".len()..].to_vec();
    let extended = [&nonce[..], first].concat();
    for first in [first, &extended] {
        if let Ok((message, client)) = client.clone().handle_server_first(first) {
            assert!(message.starts_with(b"c=biws,r="));
            assert!(client.handle_server_final(last).is_err());
        }
    }
}

fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    (&data[..at], data.get(at + 1..).unwrap_or_default())
}

/// Whether no line of a password file asks for much memory or many passes.
fn is_cheap(text: &str) -> bool {
    let asks_little = |parameter: &str, max: u32| {
        text.split(parameter).skip(1).all(|rest| {
            let digits = rest.split(|found: char| !found.is_ascii_digit()).next();
            digits.is_some_and(|digits| digits.parse::<u32>().is_ok_and(|value| value <= max))
        })
    };
    asks_little("m=", 1024) && asks_little("t=", 4) && asks_little("$7$", 10_000)
}

/// Any bytes as a password file: what can be read can be changed, and stays readable.
pub fn password_file(data: &[u8]) {
    let parsed = PasswordFile::parse(data);
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(parsed.is_err());
        return;
    };
    let Ok(cost) = Cost::new(8, 1, 1) else { return };
    if !is_cheap(text) {
        // Whoever writes the file says how long a login takes, up to seconds.
        return;
    }
    match set_password(text, "user", b"secret", cost, &[1; 16]) {
        Ok(changed) => {
            let file = PasswordFile::parse(changed.as_bytes()).expect("stays readable");
            let before = parsed.as_ref().map_or(0, PasswordFile::len);
            let had = parsed.is_ok_and(|file| file.contains("user"));
            assert_eq!(file.len(), before + usize::from(!had));
            let checker = PasswordChecker::new(file, &[2; 32], 4);
            assert_eq!(checker.check("user", b"secret"), Verdict::Right);
            assert_eq!(checker.check("user", b"secret "), Verdict::Wrong);
            let removed = remove_user(&changed, "user").expect("is there");
            assert!(
                !matches!(PasswordFile::parse(removed.as_bytes()), Ok(file) if file.contains("user"))
            );
        }
        Err(error) => {
            assert!(matches!(error, EditError::Line(_)), "{error}");
            assert!(parsed.is_err());
        }
    }
}

/// Any bytes as the answer of a back end, and as the password and certificate that it is asked about.
pub fn hook_answer(data: &[u8]) {
    if let Ok(hook::Answer::Allow(vouched)) = hook::parse(data) {
        assert!(vouched.groups.len() <= hook::GROUPS_MAX);
        assert_ne!(vouched.expires_in_secs, Some(0));
    }
    let text = String::from_utf8_lossy(data);
    let question = hook::Question {
        client_identifier: &text,
        user_name: Some(&text),
        password: Some(data),
        certificate: Some(data),
        ..hook::Question::default()
    };
    let json: serde_json::Value = serde_json::from_str(&question.to_json()).expect("JSON");
    assert_eq!(json["client_identifier"].as_str(), Some(&*text));
    assert_eq!(json["password"].is_null(), std::str::from_utf8(data).is_err());
}

#[cfg(test)]
mod tests {
    #[test]
    fn bodies_hold_on_a_few_inputs() {
        for data in [
            &b""[..],
            b"a.b.c",
            b"{\"sub\":\"a\",\"exp\":1900000000}",
            b"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
            b"n,,n=user,r=abc\nc=biws,r=abc,p=AAAA",
            b"n,,n=nobody,r=abc\n",
            b"abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096\nv=AAAA",
            b"# comment\nuser:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA\r\n",
            b"user:$7$1$c2FsdA==$x\n",
            b"\xef\xbb\xbfuser:x",
            b"{\"allow\":true,\"user\":\"gauge\",\"expires_in\":60}",
        ] {
            super::hook_answer(data);
            super::jwt(data);
            super::scram_server(data);
            super::scram_client(data);
            super::password_file(data);
        }
    }
}
