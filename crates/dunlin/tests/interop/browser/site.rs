//! A web site on loopback: the page with MQTT.js, and what its script posts back.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::process::deadline;

const PAGE: &str = "<!doctype html><meta charset=utf-8><title>MQTT</title>\
                    <script src=/mqtt.min.js></script><script src=/page.js></script>";

/// A site that serves until the test program ends.
pub(super) struct Site {
    pub(super) port: u16,
    results: Receiver<String>,
}

impl Site {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener.local_addr().expect("is bound").port();
        let (sender, results) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                // Browsers open connections ahead, and may say nothing by them. One that breaks off is
                // asked again by another.
                thread::spawn(move || serve(&stream, &sender));
            }
        });
        Self { port, results }
    }

    /// What a page has posted, line by line.
    #[track_caller]
    pub(super) fn result(&self) -> Vec<String> {
        let text = self.results.recv_timeout(deadline()).expect("the page posts its result");
        text.lines().map(str::to_owned).collect()
    }
}

/// MQTT.js as browsers load it, in the version that the set-up step installs.
fn library() -> PathBuf {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("lies in target");
    built.join("peers/mqtt/node_modules/mqtt/dist/mqtt.min.js")
}

/// Answers one request; what is not asked for by a page is not found.
fn serve(mut stream: &TcpStream, results: &Sender<String>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut body_len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            body_len = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; body_len];
    reader.read_exact(&mut body)?;
    let path = request.split([' ', '?']).nth(1).unwrap_or_default();
    let (status, kind, answer) = match path {
        "/page" => ("200 OK", "text/html", PAGE.into()),
        "/page.js" => ("200 OK", "text/javascript", include_bytes!("page.js").to_vec()),
        "/mqtt.min.js" => ("200 OK", "text/javascript", fs::read(library())?),
        "/result" => {
            let _ = results.send(String::from_utf8_lossy(&body).into_owned());
            ("200 OK", "text/plain", Vec::new())
        }
        _ => ("404 Not Found", "text/plain", Vec::new()),
    };
    let len = answer.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {len}\r\n\
         Connection: close\r\n\r\n"
    )?;
    stream.write_all(&answer)
}
