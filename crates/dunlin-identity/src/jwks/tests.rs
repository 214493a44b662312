//! Key sets as issuers offer them, as they must not be taken, and when they are fetched.

use super::*;
use crate::jwt::tests::{Keys, claims, token};
use crate::jwt::{JwtError, JwtRules, Presented};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::time::Duration;

const NOW: u64 = 1_800_000_000;

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn parse(json: &Value) -> Result<KeySet, InvalidKeySet> {
    super::parse(json.to_string().as_bytes())
}

fn jwk(keys: &Keys, kind: &str, identifier: &str) -> Value {
    match kind {
        "RSA" => {
            let (n, e) = keys.rsa_components();
            json!({"kty": "RSA", "kid": identifier, "n": base64url(&n), "e": base64url(&e)})
        }
        "EC" => {
            let point = keys.p256_point();
            let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
            json!({"kty": "EC", "crv": "P-256", "kid": identifier, "x": x, "y": y, "alg": "ES256"})
        }
        _ => {
            let x = base64url(&keys.ed25519_public());
            json!({"kty": "OKP", "crv": "Ed25519", "kid": identifier, "use": "sig", "x": x})
        }
    }
}

#[test]
fn the_identifier_and_the_algorithm_choose_the_key() {
    let (keys, others) = (Keys::new(), Keys::new());
    let set = parse(&json!({"keys": [
        jwk(&keys, "RSA", "r"), jwk(&keys, "EC", "e"), jwk(&keys, "OKP", "d"),
        jwk(&others, "RSA", "s"), jwk(&others, "RSA", "e"),
    ]}))
    .expect("a set");
    assert_eq!(set.len(), 5);
    let rules = JwtRules::new(&Algorithm::ALL);
    let verify = |algorithm, identifier: Option<&str>, keys: &Keys| {
        let token = token(keys, algorithm, identifier, &claims(NOW));
        rules.verify(NOW, token.as_bytes(), &set, Presented::default()).map(|_| ())
    };
    for (algorithm, identifier) in [
        (Algorithm::Rs256, "r"),
        (Algorithm::Ps512, "r"),
        (Algorithm::Es256, "e"),
        (Algorithm::EdDsa, "d"),
    ] {
        assert_eq!(verify(algorithm, Some(identifier), &keys), Ok(()), "{algorithm}");
        assert_eq!(verify(algorithm, Some(identifier), &others), Err(JwtError::Signature));
    }
    assert_eq!(verify(Algorithm::Rs256, Some("e"), &others), Ok(()), "same name, another kind");
    assert_eq!(verify(Algorithm::Rs256, Some("x"), &keys), Err(JwtError::UnknownKey));
    assert_eq!(verify(Algorithm::Es256, None, &keys), Ok(()), "the only one of its kind");
    assert_eq!(verify(Algorithm::Rs256, None, &others), Ok(()), "one of three");
    assert_eq!(verify(Algorithm::Hs256, Some("r"), &keys), Err(JwtError::UnknownKey));
}

/// The keys and tokens of RFC 7515, appendices A.1 and A.3.
#[test]
fn tokens_of_the_standard() {
    const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const EXPIRY: u64 = 1_300_819_380;
    let secret =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let secret = from_base64url(secret).expect("base64url");
    let secret = KeySet::new(vec![VerificationKey::from_secret(&secret).expect("long enough")]);
    let curve = parse(&json!({"keys": [{
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }]}))
    .expect("a set");
    let mut rules = JwtRules::new(&[Algorithm::Hs256, Algorithm::Es256]);
    rules.user_claim = "iss".to_owned();
    for (keys, header, signature) in [
        (
            &secret,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            &curve,
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ] {
        let token = format!("{header}.{CLAIMS}.{signature}");
        let verify = |now| rules.verify(now, token.as_bytes(), keys, Presented::default());
        assert_eq!(verify(EXPIRY).expect("valid").user.as_str(), "joe");
        assert_eq!(verify(EXPIRY + 5), Err(JwtError::Expired));
    }
}

#[test]
fn keys_that_are_left_out() {
    let keys = Keys::new();
    let good = jwk(&keys, "RSA", "good");
    let with = |name: &str, value: Value| {
        let mut key = jwk(&keys, "EC", "x");
        key[name] = value;
        key
    };
    let left_out = [
        json!({"kty": "oct", "kid": "h", "k": base64url(&[1; 64]), "alg": "HS256"}),
        json!({"kty": "RSA", "kid": "w", "n": base64url(&[255; 128]), "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "n", "e": "AQAB"}),
        json!({"kty": "new", "kid": "n"}),
        json!("key"),
        with("use", json!("enc")),
        with("use", json!(1)),
        with("key_ops", json!(["sign"])),
        with("key_ops", json!("verify")),
        with("alg", json!("RS256")),
        with("alg", json!("none")),
        with("crv", json!("P-521")),
        with("crv", json!("P-384")),
        with("x", json!("AAAA")),
        with("x", json!("!")),
        with("kid", json!(1)),
    ];
    for key in left_out {
        assert_eq!(parse(&json!({"keys": [key]})).err(), Some(InvalidKeySet::NoKey), "{key}");
        let set = parse(&json!({"keys": [key, good]})).expect("the others count");
        assert_eq!(set.len(), 1);
    }
    let twice = parse(&json!({"keys": [good, jwk(&Keys::new(), "RSA", "good")]})).expect("a set");
    assert_eq!(twice.len(), 1);
    let verify = with("key_ops", json!(["verify"]));
    assert_eq!(parse(&json!({"keys": [verify]})).expect("a set").len(), 1);
}

#[test]
fn sets_that_are_refused() {
    for json in ["", "[]", "{}", "{\"keys\": {}}", "{\"keys\": 1}", "null"] {
        assert_eq!(super::parse(json.as_bytes()).err(), Some(InvalidKeySet::NotASet), "{json}");
    }
    assert_eq!(parse(&json!({"keys": []})).err(), Some(InvalidKeySet::NoKey));
    let key = jwk(&Keys::new(), "OKP", "a");
    let many = |count: usize| json!({"keys": vec![key.clone(); count]});
    assert!(parse(&many(KEYS_MAX)).is_ok());
    assert_eq!(parse(&many(KEYS_MAX + 1)).err(), Some(InvalidKeySet::TooManyKeys));
    let long = vec![b' '; SET_LEN_MAX + 1];
    assert_eq!(super::parse(&long).err(), Some(InvalidKeySet::TooLarge));
    let deep = format!("{{\"keys\":{}", "[".repeat(100_000));
    assert_eq!(super::parse(deep.as_bytes()).err(), Some(InvalidKeySet::NotASet));
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn set() -> Option<KeySet> {
    Some(KeySet::default())
}

#[test]
fn ten_thousand_unknown_identifiers_are_one_fetch() {
    let mut cache = KeySetCache::new(Timing::default());
    assert!(cache.key_set(at(0)).is_none());
    assert!(cache.begin_fetch(at(0)), "the first one at once");
    assert!(!cache.begin_fetch(at(0)), "one at a time");
    cache.handle_fetched(at(1), set());
    assert!(cache.key_set(at(1)).is_some());
    let mut fetches = 0;
    for _ in 0..10_000 {
        cache.handle_unknown_key();
        if cache.begin_fetch(at(29)) {
            fetches += 1;
        }
    }
    assert_eq!(fetches, 0, "while it cools down");
    for _ in 0..10_000 {
        cache.handle_unknown_key();
        if cache.begin_fetch(at(30)) {
            cache.handle_fetched(at(30), set());
            fetches += 1;
        }
    }
    assert_eq!(fetches, 1);
    assert_eq!(cache.poll_timeout(), at(60), "the last wish is not forgotten");
}

#[test]
fn a_set_is_kept_fresh_and_expires() {
    let mut cache = KeySetCache::new(Timing::default());
    assert!(cache.begin_fetch(at(0)));
    cache.handle_fetched(at(0), set());
    assert_eq!(cache.poll_timeout(), at(600));
    assert!(!cache.begin_fetch(at(599)));
    let mut attempts = 0;
    for second in 600..3_600 {
        assert!(cache.key_set(at(second)).is_some(), "still used at {second}");
        if cache.begin_fetch(at(second)) {
            attempts += 1;
            cache.handle_fetched(at(second), None);
        }
    }
    assert_eq!(attempts, 100, "one in 30 s");
    assert!(cache.key_set(at(3_600)).is_none(), "nothing is accepted after an hour");
    assert!(cache.begin_fetch(at(3_600)));
    cache.handle_fetched(at(3_601), set());
    assert!(cache.key_set(at(3_601)).is_some());
    assert_eq!(cache.poll_timeout(), at(4_201));
}

#[test]
fn a_fetch_that_never_comes_back_is_given_up() {
    let mut cache = KeySetCache::new(Timing::default());
    assert!(cache.begin_fetch(at(5)));
    cache.handle_unknown_key();
    assert!(!cache.begin_fetch(at(34)));
    assert!(cache.begin_fetch(at(35)));
    cache.handle_fetched(at(36), set());
    assert!(cache.key_set(at(36)).is_some());
}
