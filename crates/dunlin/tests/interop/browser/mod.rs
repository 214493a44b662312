//! MQTT.js in a real browser, over WebSocket within TLS: headless Chromium loads a page that speaks to
//! itself through the broker, and one of another origin that must not.

mod site;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use self::site::Site;
use crate::process::Process;

/// A browser that ends with the test, along with all processes that it has started.
struct Chromium(Process);

impl Chromium {
    /// What went over the network, written by the browser.
    const LOG: &str = "network.json";

    /// Opens a page. Certificates for `key` are good; names below `.test` lead to this machine.
    fn open(url: &str, key: &str, folder: &Path) -> Self {
        let mut command = Command::new("chromium");
        // There is no sandbox for root, nor in most containers, and the page is ours.
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update"]);
        command.args(["--disable-breakpad", "--disable-dev-shm-usage", "--no-proxy-server"]);
        command.env("TMPDIR", folder).arg("--host-resolver-rules=MAP *.test 127.0.0.1");
        command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
        command.arg(format!("--log-net-log={}", folder.join(Self::LOG).display()));
        command.arg(format!("--ignore-certificate-errors-spki-list={key}"));
        Self(Process::spawn("chromium", command.arg(url).process_group(0)))
    }

    /// Tells it to end by itself, and waits.
    fn end(&mut self) {
        signal("TERM", &self.0.id().to_string());
        self.0.wait_success();
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        signal("KILL", &format!("-{}", self.0.id()));
    }
}

fn signal(name: &str, process: &str) {
    // Fails when it has ended, which is as good.
    let _ = Command::new("kill").args(["-s", name, "--", process]).stderr(Stdio::null()).status();
}

/// The SHA-256 of a certificate's public key, as Chromium wants it.
fn key_hash(certificate: &Path) -> String {
    let pipe = "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform der \
                | openssl dgst -sha256 -binary | openssl base64";
    let output = Command::new("sh").args(["-c", pipe]).arg(certificate).output();
    let hash = String::from_utf8(output.expect("a shell can be started").stdout);
    let hash = hash.expect("base64 is text").trim().to_owned();
    assert_eq!(hash.len(), 44, "openssl makes a hash of {}", certificate.display());
    hash
}

/// What comes over when all is well.
fn all_of_it() -> Vec<String> {
    let mut lines = Vec::new();
    for (version, wanted) in [(4, 1), (4, 2), (5, 1), (5, 2)] {
        for qos in [0, 1, 2] {
            for len in [7, 100 * 1024] {
                lines.push(format!(
                    "MQTT {version}, subscribed {wanted}, published {qos}, {len}: came at {} as it was",
                    qos.min(wanted)
                ));
            }
        }
    }
    lines
}

#[test]
fn a_page_speaks_mqtt_and_one_of_elsewhere_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let program = env!("CARGO_BIN_EXE_dunlin");
    let mut command = Command::new(program);
    let made = command.arg("cert").current_dir(folder.path()).output();
    assert!(made.expect("it can be started").status.success());
    let site = Site::start();
    let named = format!("http://named.test:{}", site.port);
    let url = "wss://127.0.0.1:0?certificate=certs/server.pem&key=certs/server.key";
    let mut command = Command::new(program);
    command.args(["--listen", url, "--listen", &format!("{url}&origins={named}")]);
    let mut broker = Process::spawn("dunlin", command.current_dir(folder.path()));
    broker.end_input();
    let mut address = || {
        broker.wait_for("it listened", |line| {
            let port = line.trim().strip_prefix("listening on wss://127.0.0.1:")?;
            Some(format!("wss://localhost:{}/mqtt", port.split('?').next()?))
        })
    };
    let (here, for_named) = (address(), address());

    // Each page leads to the next, so that one browser does for all.
    let page = |origin: &str, broker: &str, then: &str| format!("{origin}/page?url={broker}{then}");
    let escape = |text: &str| text.replace('%', "%25").replace('&', "%26").replace('?', "%3f");
    let then = |next: &str| format!("&then={}", escape(next));
    let last = page(&named, &for_named, "");
    let strange = format!("http://strange.test:{}", site.port);
    let third = page(&strange, &for_named, &then(&last));
    let second = page(&strange, &here, &then(&third));
    let first = page(&format!("http://127.0.0.1:{}", site.port), &here, &then(&second));

    let hash = key_hash(&folder.path().join("certs/server.pem"));
    let mut chromium = Chromium::open(&first, &hash, folder.path());
    assert_eq!(site.result(), all_of_it(), "a page of this machine");
    for listener in ["one that names nobody", "one that names another"] {
        assert_eq!(site.result(), ["failed: closed"], "{listener}");
        let refused = format!("a web page of {strange} was refused");
        broker.wait_for("it told of it", |line| line.contains(&refused).then_some(()));
    }
    assert_eq!(site.result(), all_of_it(), "the page that `origins` names");
    chromium.end();
    let log = fs::read_to_string(folder.path().join(Chromium::LOG)).expect("the browser writes it");
    let refusals =
        log.lines().filter(|line| line.contains("Unexpected response code: 403")).count();
    assert_eq!(refusals, 2, "the answers that the browser has seen");
}
