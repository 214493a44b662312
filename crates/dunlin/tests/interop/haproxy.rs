//! HAProxy in front of the broker: its PROXY headers of both versions, with TLS passed through and
//! without, and its health checks.

use crate::process::Process;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use tempfile::TempDir;

/// How often another program may take ports that were found free for HAProxy.
const ATTEMPTS: usize = 20;

/// Where HAProxy connects from: the one proxy that the broker trusts.
const PROXY: &str = "127.0.0.9";
/// Where the rules let a client in, and where they don't.
const ALLOWED: &str = "127.0.0.7";
const DENIED: &str = "127.0.0.8";

/// The ways through HAProxy: version of the header, whether TLS is within.
const WAYS: [(&str, bool); 4] = [
    ("send-proxy", false),
    ("send-proxy-v2", false),
    ("send-proxy", true),
    ("send-proxy-v2", true),
];

/// HAProxy, and a broker that takes nobody else's word.
struct Bed {
    folder: TempDir,
    broker: Process,
    /// Where HAProxy listens, for each of [`WAYS`].
    ports: [u16; 4],
    _haproxy: Process,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let dunlin = |args: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
            command.args(args).current_dir(folder.path());
            command
        };
        let made = dunlin(&["cert", "--out", "certs"]).output().expect("it can be started");
        assert!(made.status.success(), "{made:?}");
        let rules = format!(
            "[[rule]]\nallow = ['publish', 'subscribe']\ntopics = ['#']\naddress = '{ALLOWED}'\n"
        );
        fs::write(folder.path().join("rules.toml"), rules).expect("a file");
        let tls = format!(
            "mqtts://127.0.0.1:0?certificate=certs/server.pem&key=certs/server.key&proxy_from={PROXY}"
        );
        let plain = format!("mqtt://127.0.0.1:0?proxy_from={PROXY}");
        let mut command = dunlin(&["--listen", &plain, "--listen", &tls]);
        for setting in [
            "rights.file=rules.toml",
            "allow_anonymous=true",
            // A publisher beside a subscriber; what a proxy does for itself counts for neither.
            "limits.connections_per_address_max=2",
            "limits.half_open_per_address_max=2",
        ] {
            command.args(["--set", setting]);
        }
        let mut broker = Process::spawn("dunlin", &mut command);
        broker.end_input();
        let mut listens = |scheme: &str| -> u16 {
            let start = format!("listening on {scheme}://127.0.0.1:");
            broker.wait_for("it listened", |line| {
                let (port, _) = line.split_once(&start).map(|(_, rest)| {
                    rest.split_once(|c: char| !c.is_ascii_digit()).unwrap_or((rest, ""))
                })?;
                port.parse().ok()
            })
        };
        let servers = [listens("mqtt"), listens("mqtts")];
        let (haproxy, ports) = start_haproxy(&folder, servers);
        Self { folder, broker, ports, _haproxy: haproxy }
    }

    /// One of Mosquitto's clients at this address, on one of [`WAYS`].
    fn client(&self, program: &str, way: usize, from: &str) -> Command {
        // Without a terminal the clients would keep their lines back until they end.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", program, "-h", "127.0.0.1", "-p", &self.ports[way].to_string()]);
        command.args(["-A", from, "-q", "1"]);
        if WAYS[way].1 {
            command.arg("--cafile").arg(self.folder.path().join("certs/ca.pem"));
        }
        command
    }
}

/// Starts HAProxy, with a way to each of the broker's listeners for each version, and waits until all
/// of them have passed a health check.
fn start_haproxy(folder: &TempDir, servers: [u16; 2]) -> (Process, [u16; 4]) {
    for _ in 0..ATTEMPTS {
        // HAProxy cannot choose a port, so those that were free a moment ago have to do.
        let free: Vec<TcpListener> =
            (0..4).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let mut ports = [0; 4];
        for (port, socket) in ports.iter_mut().zip(&free) {
            *port = socket.local_addr().expect("it is bound").port();
        }
        drop(free);
        let mut text = "global\n log stdout format raw local0\ndefaults\n mode tcp\n log global\n \
                        option log-health-checks\n timeout connect 30s\n timeout client 60s\n \
                        timeout server 60s\n"
            .to_owned();
        // A check that is late on a busy machine must not take a server away.
        for (way, (port, (version, is_tls))) in ports.iter().zip(WAYS).enumerate() {
            let server = servers[usize::from(is_tls)];
            text += &format!(
                "listen way{way}\n bind 127.0.0.1:{port}\n server broker 127.0.0.1:{server} \
                 {version} source {PROXY} check inter 200ms rise 1 fall 50\n"
            );
        }
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, text).expect("a file");
        let mut command = Command::new(find_haproxy());
        let mut haproxy = Process::spawn("haproxy", command.arg("-db").arg("-f").arg(&file));
        haproxy.end_input();
        let mut waited_for: Vec<String> = (0..4).map(|way| format!("way{way}/broker")).collect();
        while !waited_for.is_empty() {
            let passed = haproxy.wait_for("all health checks passed", |line| {
                if line.contains("cannot bind socket") {
                    return Some(None);
                }
                let has_passed = line.contains("succeeded");
                let place = waited_for.iter().position(|name| line.contains(name.as_str()))?;
                has_passed.then_some(Some(place))
            });
            match passed {
                Some(place) => drop(waited_for.swap_remove(place)),
                None => break,
            }
        }
        if waited_for.is_empty() {
            return (haproxy, ports);
        }
    }
    panic!("no ports stayed free for HAProxy in {ATTEMPTS} attempts")
}

/// Debian puts it where a user's `PATH` often does not lead.
fn find_haproxy() -> &'static str {
    let places = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"];
    places.into_iter().find(|place| fs::exists(place).unwrap_or(false)).unwrap_or("haproxy")
}

#[test]
fn rules_and_the_log_know_clients_by_their_own_addresses() {
    let mut bed = Bed::new();
    for (way, (version, is_tls)) in WAYS.into_iter().enumerate() {
        let case = format!("{version}, TLS: {is_tls}");
        let mut command = bed.client("mosquitto_sub", way, ALLOWED);
        command.args(["-V", "mqttv5", "-t", "a", "-C", "1", "-d"]);
        let mut subscriber = Process::spawn("mosquitto_sub", &mut command);
        subscriber.wait_for("its SUBACK", |line| line.contains("SUBACK").then_some(()));
        // A client of MQTT 3.1.1 loses its connection, which the log tells with its address.
        for (from, payload) in [(DENIED, "denied"), (ALLOWED, "allowed")] {
            let mut command = bed.client("mosquitto_pub", way, from);
            command.args(["-V", "mqttv311", "-t", "a", "-m", payload]);
            let mut publisher = Process::spawn("mosquitto_pub", &mut command);
            if from == ALLOWED {
                assert!(publisher.wait_success(), "{case}: {}", publisher.history());
            } else {
                let peer = format!("peer=\"{from}:");
                bed.broker.wait_for(&peer, |line| line.contains(&peer).then_some(()));
            }
        }
        let first = subscriber.wait_for("a message", |line| {
            matches!(line, "allowed" | "denied").then(|| line.to_owned())
        });
        assert_eq!(first, "allowed", "{case}");
        assert!(subscriber.wait_success(), "{case}: {}", subscriber.history());
    }
    // Checks have gone on all the while, and nobody was refused for them.
    bed.broker.kill();
    while let Some(line) = bed.broker.next_line() {
        assert!(!line.contains("limits."), "{line}");
    }
    assert!(!bed.broker.history().contains("limits."), "{}", bed.broker.history());
}
