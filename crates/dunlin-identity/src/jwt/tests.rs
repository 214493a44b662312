//! Tokens of each algorithm, and tokens that must not pass. They are put together by hand, so that
//! the library that reads them is not the one that writes them.

use super::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use aws_lc_rs::{encoding::AsDer as _, hmac};
use serde_json::json;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret of forty bytes, and not guessed";

/// One private key of each kind.
pub(crate) struct Keys {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
            p256: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)
                .expect("a key"),
            p384: EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING)
                .expect("a key"),
            ed25519: Ed25519KeyPair::generate().expect("a key"),
        }
    }

    pub(crate) fn rsa_components(&self) -> (Vec<u8>, Vec<u8>) {
        let public = self.rsa.public_key();
        let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
        (modulus, public.exponent().big_endian_without_leading_zero().to_vec())
    }

    pub(crate) fn p256_point(&self) -> Vec<u8> {
        self.p256.public_key().as_ref().to_vec()
    }

    pub(crate) fn ed25519_public(&self) -> Vec<u8> {
        self.ed25519.public_key().as_ref().to_vec()
    }

    /// The public keys in DER, as `PUBLIC KEY` of PEM has them.
    fn public_der(&self) -> [Vec<u8>; 4] {
        [
            self.rsa.public_key().as_der().expect("DER").as_ref().to_vec(),
            self.p256.public_key().as_der().expect("DER").as_ref().to_vec(),
            self.p384.public_key().as_der().expect("DER").as_ref().to_vec(),
            self.ed25519.public_key().as_der().expect("DER").as_ref().to_vec(),
        ]
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        use Algorithm::*;
        let random = SystemRandom::new();
        let hmac =
            |algorithm| hmac::sign(&hmac::Key::new(algorithm, SECRET), message).as_ref().to_vec();
        let rsa = |encoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &random, message, &mut signature).expect("signed");
            signature
        };
        match algorithm {
            Hs256 => hmac(hmac::HMAC_SHA256),
            Hs384 => hmac(hmac::HMAC_SHA384),
            Hs512 => hmac(hmac::HMAC_SHA512),
            Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
            Rs384 => rsa(&signature::RSA_PKCS1_SHA384),
            Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
            Ps256 => rsa(&signature::RSA_PSS_SHA256),
            Ps384 => rsa(&signature::RSA_PSS_SHA384),
            Ps512 => rsa(&signature::RSA_PSS_SHA512),
            Es256 => self.p256.sign(&random, message).expect("signed").as_ref().to_vec(),
            Es384 => self.p384.sign(&random, message).expect("signed").as_ref().to_vec(),
            EdDsa => self.ed25519.sign(message).as_ref().to_vec(),
        }
    }
}

fn part(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with a header of this text and a signature that fits the algorithm.
fn signed(keys: &Keys, algorithm: Algorithm, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", part(header.as_bytes()), part(claims.as_bytes()));
    let signature = part(&keys.sign(algorithm, message.as_bytes()));
    format!("{message}.{signature}")
}

pub(crate) fn token(
    keys: &Keys,
    algorithm: Algorithm,
    identifier: Option<&str>,
    claims: &Value,
) -> String {
    let mut header = json!({"typ": "JWT", "alg": algorithm.name()});
    if let Some(identifier) = identifier {
        header["kid"] = json!(identifier);
    }
    signed(keys, algorithm, &header.to_string(), &claims.to_string())
}

pub(crate) fn claims(now: u64) -> Value {
    json!({"sub": "gauge", "exp": now + 60})
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = crate::hash::to_base64(der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn secret() -> VerificationKey {
    VerificationKey::from_secret(SECRET).expect("long enough")
}

fn key_set(keys: &Keys) -> KeySet {
    let mut set = vec![secret()];
    for der in keys.public_der() {
        set.push(VerificationKey::from_pem(pem("PUBLIC KEY", &der).as_bytes()).expect("a key"));
    }
    KeySet::new(set)
}

/// What becomes of claims under a good signature.
fn outcome(
    rules: &JwtRules,
    claims: &Value,
    presented: Presented<'_>,
) -> Result<Verified, JwtError> {
    outcome_of_text(rules, &claims.to_string(), presented)
}

fn outcome_of_text(
    rules: &JwtRules,
    claims: &str,
    presented: Presented<'_>,
) -> Result<Verified, JwtError> {
    let message = format!("{}.{}", part(br#"{"alg":"HS256"}"#), part(claims.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    let token = format!("{message}.{}", part(tag.as_ref()));
    rules.verify(NOW, token.as_bytes(), &KeySet::new(vec![secret()]), presented)
}

fn hs256() -> JwtRules {
    JwtRules::new(&[Algorithm::Hs256])
}

#[test]
fn every_algorithm_with_its_key_and_no_other() {
    let (keys, others) = (Keys::new(), Keys::new());
    let (ours, theirs) = (key_set(&keys), key_set(&others));
    for algorithm in Algorithm::ALL {
        let rules = JwtRules::new(&[algorithm]);
        let token = token(&keys, algorithm, None, &claims(NOW));
        let verify = |set| rules.verify(NOW, token.as_bytes(), set, Presented::default());
        let verified = verify(&ours).expect("valid");
        assert_eq!((verified.user.as_str(), verified.expires_at), ("gauge", NOW + 65));
        if !algorithm.is_symmetric() {
            assert_eq!(verify(&theirs), Err(JwtError::Signature), "{algorithm}");
        }
        let other = if algorithm == Algorithm::Hs256 { Algorithm::Hs512 } else { Algorithm::Hs256 };
        let rules = JwtRules::new(&[other]);
        let refused = rules.verify(NOW, token.as_bytes(), &ours, Presented::default());
        assert_eq!(refused, Err(JwtError::Algorithm(algorithm)));
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
    }
    assert_eq!("none".parse::<Algorithm>(), Err(UnknownAlgorithm));
}

#[test]
fn a_public_key_is_no_secret() {
    let keys = Keys::new();
    let rules = JwtRules::new(&Algorithm::ALL);
    for der in keys.public_der() {
        let pem = pem("PUBLIC KEY", &der);
        let key = VerificationKey::from_pem(pem.as_bytes()).expect("a key");
        for known in [pem.as_bytes(), &der] {
            let message = format!(
                "{}.{}",
                part(br#"{"alg":"HS256"}"#),
                part(claims(NOW).to_string().as_bytes())
            );
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, known), message.as_bytes());
            let token = format!("{message}.{}", part(tag.as_ref()));
            let set = KeySet::new(vec![key.clone()]);
            let result = rules.verify(NOW, token.as_bytes(), &set, Presented::default());
            assert_eq!(result, Err(JwtError::NoKey(Algorithm::Hs256)));
        }
    }
}

#[test]
fn a_file_may_hold_several_keys() {
    let keys = Keys::new();
    let blocks = keys.public_der().map(|der| pem("PUBLIC KEY", &der));
    let set = KeySet::from_pem(blocks.concat().as_bytes()).expect("keys");
    assert_eq!(set.len(), 4);
    for algorithm in Algorithm::ALL {
        assert_eq!(set.serves(algorithm), !algorithm.is_symmetric(), "{algorithm}");
    }
    let from = |text: String| KeySet::from_pem(text.as_bytes()).map(|set| set.len());
    assert_eq!(from(blocks[0].repeat(8)), Ok(8));
    assert_eq!(from(blocks[0].repeat(9)), Err(InvalidKey::TooMany));
    assert_eq!(from(String::new()), Err(InvalidKey::NotPem));
    assert_eq!(
        from(format!("{}-----BEGIN PUBLIC KEY-----\nAA", blocks[0])),
        Err(InvalidKey::NotPem)
    );
    let private = pem("PRIVATE KEY", b"x");
    assert_eq!(from(format!("{}{private}", blocks[1])), Err(InvalidKey::Private));
}

#[test]
fn a_token_without_an_identifier_is_tried_with_every_key_that_fits() {
    let algorithm = Algorithm::EdDsa;
    let (old, new, stranger) = (Keys::new(), Keys::new(), Keys::new());
    let key = |keys: &Keys, identifier: &str| {
        let key = VerificationKey::from_ed25519(&keys.ed25519_public()).expect("a key");
        key.with_identifier(identifier)
    };
    let set = KeySet::new(vec![key(&old, "old"), key(&new, "new")]);
    let rules = JwtRules::new(&Algorithm::ALL);
    let verify = |keys: &Keys, algorithm, identifier| {
        let token = token(keys, algorithm, identifier, &claims(NOW));
        rules.verify(NOW, token.as_bytes(), &set, Presented::default()).map(|_| ())
    };
    for keys in [&old, &new] {
        assert_eq!(verify(keys, algorithm, None), Ok(()));
    }
    assert_eq!(verify(&new, algorithm, Some("new")), Ok(()));
    assert_eq!(verify(&new, algorithm, Some("old")), Err(JwtError::Signature));
    assert_eq!(verify(&new, algorithm, Some("next")), Err(JwtError::UnknownKey));
    // No fetch could bring the key that they ask for: they ask for none.
    assert_eq!(verify(&stranger, algorithm, None), Err(JwtError::Signature));
    assert_eq!(verify(&new, Algorithm::Es256, None), Err(JwtError::NoKey(Algorithm::Es256)));
}

#[test]
fn headers_that_are_refused() {
    let keys = Keys::new();
    let set = key_set(&keys);
    let rules = JwtRules::new(&Algorithm::ALL);
    let verify = |header: &str| {
        let token = signed(&keys, Algorithm::Hs256, header, &claims(NOW).to_string());
        rules.verify(NOW, token.as_bytes(), &set, Presented::default()).map(|_| ())
    };
    assert_eq!(verify(r#"{"alg":"HS256"}"#), Ok(()));
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"ES512"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","zip":"DEF"}"#,
        r#"{"alg":"HS256","enc":"A128GCM"}"#,
        "{}",
        "{x",
    ] {
        assert_eq!(verify(header), Err(JwtError::Header), "{header}");
    }
    for header in ["[]", "x", "\"alg\""] {
        assert_eq!(verify(header), Err(JwtError::NotAToken), "{header}");
    }
    // A key in the header is nobody's key.
    let own = r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"},"jku":"http://x/"}"#;
    assert_eq!(verify(own), Ok(()), "the configured key checks it all the same");
    let token = signed(&keys, Algorithm::Es256, r#"{"alg":"RS256"}"#, &claims(NOW).to_string());
    let result = rules.verify(NOW, token.as_bytes(), &set, Presented::default());
    assert_eq!(result, Err(JwtError::Signature));
}

#[test]
fn shapes_that_are_refused() {
    let rules = hs256();
    let set = KeySet::new(vec![secret()]);
    let verify = |token: &[u8]| rules.verify(NOW, token, &set, Presented::default()).map(|_| ());
    for token in [
        &b""[..],
        b".",
        b"..",
        b"secret",
        b"a.b",
        b"a..c",
        b".b.c",
        b"a.b.c.d",
        b"a.b.c d",
        b"a.b.c=",
        b"a.b.c+",
        b"a.b.\xff",
        b"a.b.c.d.e",
        b"a.b.c",
        b"open.sesame.gauge",
        b"e.b.c",
        b"eg.b.c",
        b"ey..c",
    ] {
        assert_eq!(verify(token), Err(JwtError::NotAToken), "{token:?}");
        assert!(!is_token(token));
    }
    assert_eq!(verify(b"ey.b."), Err(JwtError::Header), "an unsigned token is a bad token");
    for opening in ["{", "{}", "{\"alg\"", "{ ", "{\n", "{\r\n", "{\t"] {
        assert!(is_token(format!("{}.b.", part(opening.as_bytes())).as_bytes()), "{opening:?}");
    }
    let long = format!("ey{}.b.c", "a".repeat(TOKEN_LEN_MAX));
    assert_eq!(verify(long.as_bytes()), Err(JwtError::TooLong));
    let header = part(br#"{"alg":"HS256"}"#);
    let claims = part(claims(NOW).to_string().as_bytes());
    for signature in ["", "AAAA", "A"] {
        let token = format!("{header}.{claims}.{signature}");
        assert_eq!(verify(token.as_bytes()), Err(JwtError::Signature), "{signature}");
    }
}

#[test]
fn times() {
    let exp = |exp: Value| {
        let claims = json!({"sub": "a", "exp": exp});
        outcome(&hs256(), &claims, Presented::default()).map(|verified| verified.expires_at)
    };
    let expired = Err(JwtError::Expired);
    assert_eq!(exp(json!(NOW + 1)), Ok(NOW + 6));
    assert_eq!(exp(json!(NOW - 4)), Ok(NOW + 1), "within the leeway");
    assert_eq!(exp(json!(NOW - 5)), expired);
    assert_eq!(exp(json!(0)), expired);
    assert_eq!(exp(json!(u64::MAX)), Ok(u64::MAX));
    assert_eq!(exp(json!(NOW as f64 + 9.9)), Ok(NOW + 14));
    assert_eq!(exp(json!(1e300)), Ok(u64::MAX));
    let wrong = |name: &str| Err(JwtError::WrongType(name.to_owned()));
    for value in [
        json!("1900000000"),
        json!(-1),
        json!(-0.5),
        json!(null),
        json!(true),
        json!([1]),
        json!({}),
    ] {
        assert_eq!(exp(value.clone()), wrong("exp"), "{value}");
    }
    let missing = outcome(&hs256(), &json!({"sub": "a"}), Presented::default());
    assert_eq!(missing, Err(JwtError::Missing("exp".to_owned())));

    let nbf = |nbf: Value| {
        let claims = json!({"sub": "a", "exp": NOW + 60, "nbf": nbf});
        outcome(&hs256(), &claims, Presented::default()).map(|_| ())
    };
    assert_eq!(nbf(json!(NOW)), Ok(()));
    assert_eq!(nbf(json!(NOW + 5)), Ok(()));
    assert_eq!(nbf(json!(NOW + 6)), Err(JwtError::NotYet));
    assert_eq!(nbf(json!(u64::MAX)), Err(JwtError::NotYet));
    assert_eq!(nbf(json!("0")), Err(JwtError::WrongType("nbf".to_owned())));
}

#[test]
fn issuer_and_audience() {
    let with = |name: &str, value: Value| {
        let mut claims = claims(NOW);
        claims[name] = value;
        claims
    };
    let verify =
        |rules: &JwtRules, claims: &Value| outcome(rules, claims, Presented::default()).map(|_| ());
    let missing = |name: &str| Err(JwtError::Missing(name.to_owned()));
    let wrong = |name: &str| Err(JwtError::WrongType(name.to_owned()));

    let mut rules = hs256();
    assert_eq!(verify(&rules, &with("iss", json!("anybody"))), Ok(()));
    assert_eq!(verify(&rules, &with("aud", json!("somebody"))), Err(JwtError::Audience));
    assert_eq!(verify(&rules, &with("aud", json!([]))), Err(JwtError::Audience));

    rules.issuers = vec!["us".to_owned(), "them".to_owned()];
    assert_eq!(verify(&rules, &with("iss", json!("them"))), Ok(()));
    assert_eq!(verify(&rules, &with("iss", json!("us "))), Err(JwtError::Issuer));
    assert_eq!(verify(&rules, &with("iss", json!(["us"]))), wrong("iss"));
    assert_eq!(verify(&rules, &claims(NOW)), missing("iss"));

    let mut rules = hs256();
    rules.audiences = vec!["mqtt".to_owned()];
    assert_eq!(verify(&rules, &with("aud", json!("mqtt"))), Ok(()));
    assert_eq!(verify(&rules, &with("aud", json!(["web", "mqtt"]))), Ok(()));
    assert_eq!(verify(&rules, &with("aud", json!("web"))), Err(JwtError::Audience));
    assert_eq!(verify(&rules, &with("aud", json!([]))), Err(JwtError::Audience));
    assert_eq!(verify(&rules, &with("aud", json!(["mqtt", 1]))), wrong("aud"));
    assert_eq!(verify(&rules, &with("aud", json!(null))), wrong("aud"));
    assert_eq!(verify(&rules, &claims(NOW)), missing("aud"));
}

#[test]
fn names_that_tokens_bind() {
    let presented = |user_name, client_identifier| Presented { user_name, client_identifier };
    let bound = json!({
        "sub": "gauge", "exp": NOW + 60, "client_identifier": "g-1",
        "groups": ["meters", "roof"], "rules": [{"allow": ["publish"]}],
    });
    let rules = hs256();
    let verified = outcome(&rules, &bound, presented(Some("gauge"), "g-1")).expect("valid");
    assert_eq!(verified.client_identifier.as_deref(), Some("g-1"));
    let groups: Vec<_> = verified.groups.iter().map(UserName::as_str).collect();
    assert_eq!(groups, ["meters", "roof"]);
    assert_eq!(verified.rules, Some(json!([{"allow": ["publish"]}])));
    assert!(outcome(&rules, &bound, presented(None, "g-1")).is_ok());
    let result = outcome(&rules, &bound, presented(None, "g-2"));
    assert_eq!(result, Err(JwtError::ClientIdentifier("client_identifier".to_owned())));
    let result = outcome(&rules, &bound, presented(Some("pump"), "g-1"));
    assert_eq!(result, Err(JwtError::UserName("sub".to_owned())));
    let mut free = hs256();
    free.binds_user_name = false;
    assert!(outcome(&free, &bound, presented(Some("pump"), "g-1")).is_ok());

    let change = |name: &str, value: Value| {
        let mut claims = bound.clone();
        claims[name] = value;
        outcome(&rules, &claims, presented(None, "g-1")).map(|_| ())
    };
    let wrong = |name: &str| Err(JwtError::WrongType(name.to_owned()));
    let illegal = |name: &str, error| Err(JwtError::Name(name.to_owned(), error));
    assert_eq!(change("sub", json!("")), illegal("sub", InvalidUserName::Empty));
    assert_eq!(change("sub", json!("a\0")), illegal("sub", InvalidUserName::ControlCharacter));
    assert_eq!(change("sub", json!(7)), wrong("sub"));
    assert_eq!(change("client_identifier", json!(null)), wrong("client_identifier"));
    assert_eq!(change("groups", json!("meters")), wrong("groups"));
    let control = illegal("groups", InvalidUserName::ControlCharacter);
    assert_eq!(change("groups", json!(["a\n"])), control);
    assert_eq!(change("groups", json!(vec!["a"; GROUPS_MAX])), Ok(()));
    let too_many = Err(JwtError::TooManyGroups("groups".to_owned()));
    assert_eq!(change("groups", json!(vec!["a"; GROUPS_MAX + 1])), too_many);

    let mut renamed = hs256();
    renamed.user_claim = "user".to_owned();
    let result = outcome(&renamed, &bound, presented(None, "g-1"));
    assert_eq!(result, Err(JwtError::Missing("user".to_owned())));
}

#[test]
fn claims_that_are_none() {
    for text in
        ["[]", "1", "{\"exp\":1,\"exp\":1900000000,\"sub\":\"a\"}", "{\"sub\":\"a\"", "{} {}"]
    {
        let result = outcome_of_text(&hs256(), text, Presented::default());
        assert_eq!(result, Err(JwtError::Claims), "{text}");
    }
    let deep = format!("{{\"exp\":1900000000,\"sub\":\"a\",\"x\":{}", "[".repeat(3_000));
    let result = outcome_of_text(&hs256(), &deep, Presented::default());
    assert_eq!(result, Err(JwtError::Claims));
}

#[test]
fn keys_that_are_refused() {
    /// 1024 bits.
    const WEAK: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDvhf+LoJKJcklx5r0bTFOKlLu1
HNgmXOjzRD0KsmHAAqxaMSU6OJqkp9T+s6iCyXrqBr1LDH9KOKgcyoKNckNWE7WR
Pm53s0vHwx71BcsbLJauRBazE7SODrN7VSC2F6oPgwxzV4SGbR9enikNzNXd+jQe
swesT8om+yTBQXjlFQIDAQAB
-----END PUBLIC KEY-----
";
    let refused = |pem: &str| VerificationKey::from_pem(pem.as_bytes()).map(|_| ()).err();
    assert_eq!(refused(WEAK), Some(InvalidKey::RsaBits));
    assert_eq!(refused(""), Some(InvalidKey::NotPem));
    assert_eq!(refused("secret"), Some(InvalidKey::NotPem));
    assert_eq!(refused(&pem("PRIVATE KEY", b"x")), Some(InvalidKey::Private));
    assert_eq!(refused(&pem("EC PRIVATE KEY", b"x")), Some(InvalidKey::Private));
    assert_eq!(refused(&pem("CERTIFICATE REQUEST", b"x")), Some(InvalidKey::NotPem));
    assert_eq!(refused(&pem("PUBLIC KEY", b"x")), Some(InvalidKey::Damaged));
    let short = VerificationKey::from_secret(&SECRET[..31]).map(|_| ()).err();
    assert_eq!(short, Some(InvalidKey::ShortSecret));
    let shown = format!("{:?}", secret());
    assert!(!shown.contains("secret of") && !shown.contains(&format!("{SECRET:?}")), "{shown}");

    let keys = Keys::new();
    let (modulus, exponent) = keys.rsa_components();
    let padded = [&[0][..], &modulus].concat();
    assert!(VerificationKey::from_rsa(&padded, &exponent).is_ok());
    for exponent in [&[][..], &[0], &[1], &[0, 1], &[2], &[1, 0, 0], &[1; 9]] {
        let refused = VerificationKey::from_rsa(&modulus, exponent).map(|_| ()).err();
        assert_eq!(refused, Some(InvalidKey::Damaged), "{exponent:?}");
    }
    let short = VerificationKey::from_rsa(&modulus[..255], &exponent);
    assert_eq!(short.map(|_| ()).err(), Some(InvalidKey::RsaBits));
}

#[test]
fn key_of_a_certificate() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    let certificate = certificate.self_signed(&key).expect("a certificate");
    let pem = pem("CERTIFICATE", certificate.der());
    let key = VerificationKey::from_pem(pem.as_bytes()).expect("a key");
    assert!(key.serves(Algorithm::Es256) && !key.serves(Algorithm::Es384));
    assert!(!key.clone().only_for(Algorithm::Rs256).serves(Algorithm::Es256));
}
