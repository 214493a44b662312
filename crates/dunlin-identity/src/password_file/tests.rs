//! Files as we write them, as Mosquitto writes them, and as nobody should.

use super::*;
use std::process::Command;

const SALT: [u8; 16] = [5; 16];
const KEY: [u8; UNKNOWN_USER_KEY_LEN] = [9; UNKNOWN_USER_KEY_LEN];

/// Cheap, so that tests are.
fn cost() -> Cost {
    Cost::new(64, 1, 1).expect("legal")
}

fn file_of(user: &str, password: &[u8]) -> String {
    set_password("", user, password, cost(), &SALT).expect("can be set")
}

fn checker(file: &str) -> PasswordChecker {
    PasswordChecker::new(PasswordFile::parse(file.as_bytes()).expect("valid"), &[1; 32], 100)
}

fn fault(file: &[u8]) -> (usize, LineFault) {
    let error = PasswordFile::parse(file).expect_err("to be refused");
    (error.line, error.fault)
}

#[test]
fn passwords_are_told_apart() {
    let file = file_of("alice", "s\u{e9}cret".as_bytes());
    let file = set_password(&file, "bob", b"x", Cost::DEFAULT, &SALT).expect("can be set");
    let checker = checker(&file);
    for _ in 0..2 {
        assert_eq!(checker.check("alice", "s\u{e9}cret".as_bytes()), Verdict::Right);
        assert_eq!(checker.check("alice", b"secret"), Verdict::Wrong);
        assert_eq!(checker.check("alice", b""), Verdict::Wrong);
        assert_eq!(checker.check("bob", b"x"), Verdict::Right);
        assert_eq!(checker.check("bob", "s\u{e9}cret".as_bytes()), Verdict::Wrong);
        assert_eq!(checker.check("Alice", "s\u{e9}cret".as_bytes()), Verdict::UnknownUser);
        assert_eq!(checker.check("", b""), Verdict::UnknownUser);
    }
    assert_eq!(checker.file().len(), 2);
}

/// A vector of argon2's reference implementation.
#[test]
fn a_hash_of_another_program() {
    let line = "alice:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let checker = checker(line);
    assert_eq!(checker.check("alice", b"password"), Verdict::Right);
    let secret = checker.file().secret("alice").expect("there");
    assert_eq!(secret.to_string(), &line["alice:".len()..]);
}

#[test]
fn right_logins_are_remembered_until_the_hash_changes() {
    let file = file_of("alice", b"one");
    let first = checker(&file);
    assert!(!first.is_remembered("alice", b"one"));
    assert_eq!(first.check("alice", b"two"), Verdict::Wrong);
    assert!(!first.is_remembered("alice", b"two"), "a wrong login is not");
    assert_eq!(first.check("alice", b"one"), Verdict::Right);
    assert!(first.is_remembered("alice", b"one"));
    assert!(!first.is_remembered("alice", b"on") && !first.is_remembered("alic", b"eone"));
    let file = set_password(&file, "alice", b"two", cost(), &SALT).expect("can be set");
    let second = checker(&file);
    assert!(!second.is_remembered("alice", b"one"));
    assert_eq!(second.check("alice", b"one"), Verdict::Wrong);
    assert!(!format!("{second:?} {:?}", second.file().secret("alice")).contains("argon2id$"));
}

#[test]
fn other_lines_stay_as_they_are() {
    let alice = file_of("alice", b"1");
    let bob = file_of("bob", b"2");
    let file = format!("# people\n{}  \r\n\n# machines\n{}", alice.trim_end(), bob.trim_end());
    let added = set_password(&file, "carl", b"3", cost(), &SALT).expect("added");
    assert_eq!(added, format!("{file}\n{}", file_of("carl", b"3")));
    let changed = set_password(&added, "bob", b"4", cost(), &[6; 16]).expect("changed");
    assert!(changed.starts_with(&file[..file.len() - bob.trim_end().len()]), "{changed}");
    assert!(changed.ends_with(&file_of("carl", b"3")), "{changed}");
    assert_eq!(checker(&changed).check("bob", b"4"), Verdict::Right);
    let removed = remove_user(&changed, "bob").expect("removed");
    assert!(removed.starts_with("# people\n") && removed.contains("\n\n# machines\n"));
    assert_eq!(checker(&removed).check("bob", b"4"), Verdict::UnknownUser);
    assert_eq!(checker(&removed).check("alice", b"1"), Verdict::Right);
    let bob = UserName::new("bob").expect("valid");
    assert_eq!(remove_user(&removed, "bob"), Err(EditError::UnknownUser(bob)));
}

#[test]
fn a_file_without_its_last_user_says_that_this_is_meant() {
    let bob = file_of("bob", b"2");
    let is_meant = |text: &str| {
        let file = PasswordFile::parse(text.as_bytes()).expect("valid");
        (file.is_empty(), file.is_meant_empty())
    };
    let key = format!(":$unknown-users${}", crate::hash::to_base64(&KEY));
    for (before, after) in [
        (bob.clone(), "# no users\n".to_owned()),
        (format!("# people\n{bob}{key}"), format!("# people\n{key}\n# no users\n")),
        (format!("# no users\n{bob}"), "# no users\n".to_owned()),
    ] {
        assert_eq!(is_meant(&before), (false, false), "{before}");
        let removed = remove_user(&before, "bob").expect("is there");
        assert_eq!(removed, after);
        assert_eq!(is_meant(&removed), (true, true), "{removed}");
        let again = set_password(&removed, "bob", b"2", cost(), &SALT).expect("added");
        assert_eq!(again, after.replace("# no users\n", "") + &bob);
    }
    for text in ["", "\n", "# people\n", "# no users of ours\n", "#no users\n", &*key] {
        assert_eq!(is_meant(text), (true, false), "{text:?}");
    }
    assert_eq!(is_meant("\u{feff}# no users \r\n"), (true, true));
}

#[test]
fn a_mark_at_the_beginning_is_not_part_of_a_name() {
    let alice = file_of("alice", b"1");
    let marked = format!("\u{feff}{alice}");
    assert_eq!(checker(&marked).check("alice", b"1"), Verdict::Right);
    let changed = set_password(&marked, "alice", b"2", cost(), &SALT).expect("changed");
    assert_eq!(checker(&changed).file().len(), 1);
    assert_eq!(checker(&changed).check("alice", b"2"), Verdict::Right);
    let twice = format!("{alice}\u{feff}{alice}");
    assert_eq!(fault(twice.as_bytes()), (2, LineFault::Space), "only the first one is a mark");
}

#[test]
fn edits_that_are_refused() {
    let set = |file: &str, user: &str, password: &[u8], salt: &[u8]| {
        set_password(file, user, password, cost(), salt).expect_err("to be refused")
    };
    assert_eq!(set("", "a:b", b"x", &SALT), EditError::Separator);
    assert_eq!(set("", "#a", b"x", &SALT), EditError::Separator);
    assert_eq!(set("", " a", b"x", &SALT), EditError::UserName(LineFault::Space));
    let empty = LineFault::UserName(InvalidUserName::Empty);
    assert_eq!(set("", "", b"x", &SALT), EditError::UserName(empty));
    let control = LineFault::UserName(InvalidUserName::ControlCharacter);
    assert_eq!(set("", "a\nb", b"x", &SALT), EditError::UserName(control));
    assert_eq!(set("", "a", b"", &SALT), EditError::NoPassword);
    assert_eq!(set("", "a", b"x", &SALT[..7]), EditError::Hashing);
    let EditError::Line(line) = set("# x\nnonsense\n", "a", b"x", &SALT) else { panic!("line") };
    assert_eq!((line.line, line.fault), (2, LineFault::NoColon));
    let scram = Credentials::derive(Mechanism::SHA_256, b"x", &SALT, 4_096).expect("legal");
    let unprepared = EditError::UserName(LineFault::Unprepared);
    assert_eq!(set_scram("", "\u{2168}", std::slice::from_ref(&scram), &KEY), Err(unprepared));
    assert_eq!(set_scram("", "a", &[], &KEY), Err(EditError::NoPassword));
    assert!(matches!(set_scram("", "a", &[scram.clone(), scram], &KEY), Err(EditError::Line(_))));
}

#[test]
fn scram_credentials_serve_plain_logins_too() {
    let make = |mechanism, password: &[u8]| {
        Credentials::derive(mechanism, password, &SALT, 5_000).expect("legal")
    };
    let both = Mechanism::ALL.map(|mechanism| make(mechanism, b"pencil"));
    let file = set_scram(&file_of("alice", b"old"), "alice", &both, &KEY).expect("can be set");
    assert_eq!(file.lines().count(), 3, "two credentials and a key; the old password is gone");
    let checker = checker(&file);
    assert_eq!(checker.check("alice", b"pencil"), Verdict::Right);
    assert_eq!(checker.check("alice", b"old"), Verdict::Wrong);
    for mechanism in Mechanism::ALL {
        assert_eq!(checker.file().scram("alice", mechanism), Some(&make(mechanism, b"pencil")));
        assert_eq!(checker.file().scram("bob", mechanism), None);
        assert_eq!(checker.file().scram_iterations(mechanism), 5_000);
    }
    let plain = PasswordFile::parse(file_of("alice", b"x").as_bytes()).expect("valid");
    assert_eq!(plain.scram_iterations(Mechanism::SHA_256), ITERATIONS_DEFAULT);
    let unprepared = file.replace("alice:", "\u{2168}:");
    assert_eq!(fault(unprepared.as_bytes()), (1, LineFault::Unprepared));
}

/// The secret of no user tells anybody which names are unknown, and a change of one tells nothing.
#[test]
fn the_key_for_unknown_users_is_nobodys_and_stays() {
    let scram = |password: &[u8]| {
        let make = |mechanism| Credentials::derive(mechanism, password, &SALT, 4_096);
        Mechanism::ALL.map(|mechanism| make(mechanism).expect("legal"))
    };
    let key = |text: &str, mechanism| {
        let file = PasswordFile::parse(text.as_bytes()).expect("valid");
        file.scram_unknown_user_key(mechanism)
    };
    let mut file = set_scram("", "alice", &scram(b"pencil"), &KEY).expect("can be set");
    for (user, password) in [("bob", b"2"), ("alice", b"3"), ("aaron", b"4")] {
        file = set_scram(&file, user, &scram(password), &[1; 32]).expect("can be set");
    }
    file = set_password(&file, "bob", b"5", cost(), &SALT).expect("can be set");
    file = remove_user(&file, "alice").expect("is there");
    for mechanism in Mechanism::ALL {
        assert_eq!(key(&file, mechanism), Some(KEY));
        assert_eq!(key(&remove_user(&file, "aaron").expect("is there"), mechanism), None);
    }

    // Of a file that has none all users' credentials make one.
    let lines = |users: &[(&str, &[u8])]| -> String {
        let line = |(user, password): &(&str, &[u8])| format!("{user}:{}\n", scram(password)[0]);
        users.iter().map(line).collect()
    };
    let old = key(&lines(&[("a", b"1"), ("b", b"2")]), Mechanism::SHA_256);
    assert!(old.is_some() && old != key(&lines(&[("a", b"1"), ("b", b"3")]), Mechanism::SHA_256));
}

#[test]
fn a_file_without_users_lets_nobody_in() {
    for file in ["", "\n", "# nobody\n", "\u{feff}", " \t\r\n"] {
        let checker = checker(file);
        assert!(checker.file().is_empty(), "{file:?}");
        for password in [&b""[..], b"x"] {
            assert_eq!(checker.check("alice", password), Verdict::UnknownUser, "{file:?}");
            assert_eq!(checker.check("", password), Verdict::UnknownUser, "{file:?}");
        }
    }
}

#[test]
fn every_refusal_costs_the_same_whoever_is_named() {
    let hash = crate::hash::to_base64(&[1; 64]);
    let scram = Credentials::derive(Mechanism::SHA_256, b"x", &SALT, 4_096).expect("legal");
    let mut file =
        set_scram(&file_of("argon2", b"x"), "scram", &[scram], &KEY).expect("can be set");
    file.push_str(&format!("mosquitto:$7$101$c2FsdA==${hash}\n"));
    file.push_str(&file_of("again", b"y"));
    let file = PasswordFile::parse(file.as_bytes()).expect("valid");
    let costs = |user: &str| {
        let own = file.secret(user);
        let beside: Vec<_> = file.dummies_beside(own.as_ref()).map(Secret::cost).collect();
        let mut costs: Vec<_> = own.iter().map(Secret::cost).chain(beside).collect();
        costs.sort();
        costs
    };
    assert_eq!(costs("nobody").len(), 3);
    for user in ["argon2", "scram", "mosquitto", "again"] {
        assert_eq!(costs(user), costs("nobody"), "{user}");
    }
}

#[test]
fn a_password_has_a_greatest_length() {
    let longest = vec![b'x'; PASSWORD_LEN_MAX];
    let file = file_of("alice", &longest);
    assert_eq!(checker(&file).check("alice", &longest), Verdict::Right);
    let longer = [&longest[..], b"x"].concat();
    assert_eq!(checker(&file).check("alice", &longer), Verdict::Wrong);
    assert_eq!(checker(&file).check("bob", &longer), Verdict::UnknownUser);
    let refused = set_password(&file, "alice", &longer, cost(), &SALT);
    assert_eq!(refused, Err(EditError::PasswordTooLong));
}

#[test]
fn faults_name_their_line() {
    let good = file_of("alice", b"x");
    let at = |line: &str| fault(format!("# first\n{good}{line}\n").as_bytes());
    let secret = |error: InvalidSecret| (3, LineFault::Secret(error));
    assert_eq!(at("bob"), (3, LineFault::NoColon));
    assert_eq!(at(" bob:x"), (3, LineFault::Space));
    assert_eq!(at("bob :x"), (3, LineFault::Space));
    for nameless in [":x", ":", ":$unknown-users$", ":$unknown-users$AAAA"] {
        assert_eq!(at(nameless), (3, LineFault::NoName), "{nameless}");
    }
    let key = format!(":$unknown-users${}", crate::hash::to_base64(&KEY));
    assert_eq!(fault(format!("{key}\n{key}\n").as_bytes()), (2, LineFault::SecondKey));
    let long = format!("{}:x", "b".repeat(257));
    assert_eq!(at(&long), (3, LineFault::UserName(InvalidUserName::TooLong)));
    assert_eq!(at("b\0b:x"), (3, LineFault::UserName(InvalidUserName::ControlCharacter)));
    let alice = UserName::new("alice").expect("valid");
    assert_eq!(at(good.trim_end()), (3, LineFault::Duplicate(alice)));
    for plain in ["bob:", "bob:secret", "bob:$", "bob:$1$abc$def", "bob:$2b$10$x", "bob:$argon2id"]
    {
        assert_eq!(at(plain), secret(InvalidSecret::UnknownKind), "{plain}");
    }
    assert_eq!(at("bob:$6$c2FsdA==$aGFzaA=="), secret(InvalidSecret::SingleRound));
    assert_eq!(fault(b"# x\nb\xff:y"), (2, LineFault::NotUtf8));
    let message = PasswordFile::parse(b"bob:$6$c2FsdA==$aGFzaA==").expect_err("weak").to_string();
    assert!(message.starts_with("line 1: `$6$`") && message.contains("passwd"), "{message}");
}

#[test]
fn parameters_have_bounds() {
    let line = |text: &str| PasswordFile::parse(text.as_bytes()).map(|_| ()).map_err(|e| e.fault);
    let argon2 =
        |cost: &str| line(&format!("a:$argon2id$v=19${cost}$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA"));
    let refused = Err(LineFault::Secret(InvalidSecret::Cost(InvalidCost)));
    for cost in ["m=65536,t=10,p=4", "m=8,t=1,p=1", "m=32,t=1,p=4"] {
        assert_eq!(argon2(cost), Ok(()), "{cost}");
    }
    for cost in [
        "m=65537,t=1,p=1",
        "m=4194304,t=1,p=1",
        "m=4294967296,t=1,p=1",
        "m=7,t=1,p=1",
        "m=31,t=1,p=4",
        "m=64,t=11,p=1",
        "m=64,t=0,p=1",
        "m=64,t=1,p=5",
        "m=64,t=1,p=0",
        "m=64,t=1",
        "t=1,m=64,p=1",
        "m=64,t=1,p=1,keyid=AA",
        "m=064,t=1,p=1",
        "m=-1,t=1,p=1",
        "",
    ] {
        assert_eq!(argon2(cost), refused, "{cost}");
    }
    assert_eq!(Cost::new(65_537, 1, 1), Err(InvalidCost));
    let other = Err(LineFault::Secret(InvalidSecret::OtherArgon2));
    assert_eq!(line("a:$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA"), other);
    assert_eq!(line("a:$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$AAAA"), other);
    assert_eq!(line("a:$argon2id$m=64,t=1,p=1$c29tZXNhbHQ$AAAA"), other);
    let damaged = Err(LineFault::Secret(InvalidSecret::Damaged));
    let good = file_of("a", b"x");
    for cut in 0..good.trim_end().len() {
        if let Ok(file) = PasswordFile::parse(&good.as_bytes()[..cut]) {
            let checker = PasswordChecker::new(file, &[1; 32], 1);
            assert_ne!(checker.check("a", b"x"), Verdict::Right, "{}", &good[..cut]);
        }
    }
    assert_eq!(line("a:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA"), damaged);
    assert_eq!(line("a:$argon2id$v=19$m=64,t=1,p=1$AAAA$c29tZXNhbHRzb21lc2FsdA"), damaged);
    let hash = crate::hash::to_base64(&[1; 64]);
    let mosquitto = |iterations: &str| line(&format!("a:$7${iterations}$c2FsdA==${hash}"));
    assert_eq!(mosquitto("1"), Ok(()));
    assert_eq!(mosquitto("1000000"), Ok(()));
    let iterations = Err(LineFault::Secret(InvalidSecret::Iterations));
    for number in ["0", "1000001", "4294967297", "-1", ""] {
        assert_eq!(mosquitto(number), iterations, "{number}");
    }
    assert_eq!(line("a:$7$101$c2FsdA==$AAAA"), damaged);
    assert_eq!(line(&format!("a:$7$101$${hash}")), damaged);
}

/// What `mosquitto_passwd` writes today is taken as it is, or refused with the way out.
#[test]
fn files_of_mosquitto() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("passwords");
    let run = |arguments: &[&str]| {
        let output = Command::new("mosquitto_passwd").args(arguments).output();
        let output = output.expect("mosquitto_passwd is missing: apt-get install mosquitto");
        assert!(output.status.success(), "{output:?}");
    };
    let path = path.to_str().expect("UTF-8");
    run(&["-c", "-b", path, "gauge", "open sesame"]);
    run(&["-b", path, "pump", "p:w$d"]);
    let text = std::fs::read_to_string(path).expect("written");
    let checker = checker(&text);
    assert_eq!(checker.file().len(), 2);
    assert_eq!(checker.check("gauge", b"open sesame"), Verdict::Right);
    assert_eq!(checker.check("gauge", b"open barley"), Verdict::Wrong);
    assert_eq!(checker.check("pump", b"p:w$d"), Verdict::Right);
    assert_eq!(checker.check("valve", b"p:w$d"), Verdict::UnknownUser);
    // Our lines and theirs in one file; a line of theirs is replaced by one of ours.
    let mixed = set_password(&text, "gauge", b"new", cost(), &SALT).expect("can be set");
    let checker = self::checker(&mixed);
    assert_eq!(checker.check("gauge", b"new"), Verdict::Right);
    assert_eq!(checker.check("pump", b"p:w$d"), Verdict::Right);

    run(&["-H", "sha512", "-b", path, "old", "x"]);
    let text = std::fs::read(path).expect("written");
    assert_eq!(fault(&text), (3, LineFault::Secret(InvalidSecret::SingleRound)));
}
