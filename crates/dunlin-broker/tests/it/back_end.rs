//! A back end of logins at a real socket, which answers as it is told, or misbehaves.

use super::peer::PATIENCE;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What a back end does with a request.
#[derive(Clone)]
pub(crate) enum Mood {
    /// It sends these bytes, and closes.
    Says(Vec<u8>),
    /// It answers 200 with what this makes of the request's body.
    Decides(fn(&str) -> String),
    /// It says nothing until its mood changes.
    Hangs,
    /// It closes without a word.
    Leaves,
    /// It sends these bytes, one now and then.
    Drips(String),
    /// It sends chunk after chunk, without end.
    GoesOn,
}

impl Mood {
    /// It answers with this status and body.
    pub(crate) fn answers(status: &str, body: &str) -> Self {
        Self::Says(response(status, body).into_bytes())
    }
}

pub(crate) fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// All kinds of misbehaviour but that nobody is there. A legal answer that only comes too slowly is
/// among them.
pub(crate) fn bad_moods() -> Vec<(&'static str, Mood)> {
    let legal = r#"{"allow": true, "user": "gauge"}"#;
    let redirection = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
    let endless_head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20));
    vec![
        ("hangs", Mood::Hangs),
        ("leaves", Mood::Leaves),
        ("drips", Mood::Drips(response("200 OK", legal))),
        ("goes on", Mood::GoesOn),
        ("garbage", Mood::Says(b"\x16\x03\x01 garbage\r\n\r\n".to_vec())),
        ("an endless head", Mood::Says(endless_head.into_bytes())),
        ("10 MB", Mood::answers("200 OK", &format!("{legal}{}", " ".repeat(10_000_000)))),
        ("cut short", Mood::Says(response("200 OK", legal).into_bytes()[..60].to_vec())),
        ("wrong types", Mood::answers("200 OK", r#"{"allow": "yes", "keys": {}}"#)),
        ("no JSON", Mood::answers("200 OK", "<html>allow: true</html>")),
        ("nothing", Mood::answers("200 OK", "")),
        ("a redirection", Mood::Says(redirection.into())),
        ("an error", Mood::answers("500 Internal Server Error", legal)),
        ("another success", Mood::answers("201 Created", legal)),
    ]
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A back end, which serves each request on a connection and a thread of its own.
pub(crate) struct BackEnd {
    pub(crate) address: SocketAddr,
    mood: Arc<Feeling>,
    asked: Receiver<Request>,
}

struct Feeling {
    mood: Mutex<Mood>,
    changed: Condvar,
}

impl BackEnd {
    pub(crate) fn new(mood: Mood) -> Self {
        Self::with_tls(mood, None)
    }

    pub(crate) fn with_tls(mood: Mood, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mood = Arc::new(Feeling { mood: Mutex::new(mood), changed: Condvar::new() });
        let (sender, asked) = channel();
        let shared = mood.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let (mood, asked, tls) = (shared.clone(), sender.clone(), tls.clone());
                // Whoever has heard enough closes before the end.
                std::thread::spawn(move || drop(mood.serve(stream, tls, &asked)));
            }
        });
        Self { address, mood, asked }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.mood.lock().expect("no panic") = mood;
        self.mood.changed.notify_all();
    }

    /// Waits for the next request.
    pub(crate) fn next(&self) -> Request {
        self.asked.recv_timeout(PATIENCE).expect("a request")
    }

    /// Whether a request has come that nobody has waited for.
    pub(crate) fn was_asked_more(&self) -> bool {
        self.asked.try_recv().is_ok()
    }
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        self.set(Mood::Leaves);
    }
}

impl Feeling {
    fn serve(
        &self,
        stream: TcpStream,
        tls: Option<Arc<ServerConfig>>,
        asked: &Sender<Request>,
    ) -> std::io::Result<()> {
        match tls {
            None => self.answer(stream, asked),
            Some(config) => {
                let connection = ServerConnection::new(config).expect("settings of use");
                self.answer(StreamOwned::new(connection, stream), asked)
            }
        }
    }

    fn answer(&self, stream: impl Read + Write, asked: &Sender<Request>) -> std::io::Result<()> {
        if matches!(*self.mood.lock().expect("no panic"), Mood::Leaves) {
            return Ok(());
        }
        let mut stream = BufReader::new(stream);
        let request = read(&mut stream)?;
        let body = request.body.clone();
        // Who no longer listens knows enough.
        let _ = asked.send(request);
        let mood = self.mood.lock().expect("no panic");
        let hangs = |mood: &mut Mood| matches!(mood, Mood::Hangs);
        let mood = self.changed.wait_while(mood, hangs).expect("no panic").clone();
        let stream = stream.get_mut();
        match mood {
            Mood::Says(bytes) => stream.write_all(&bytes),
            Mood::Decides(decide) => {
                stream.write_all(response("200 OK", &decide(&body)).as_bytes())
            }
            Mood::Hangs | Mood::Leaves => Ok(()),
            Mood::Drips(text) => text.bytes().try_for_each(|byte| {
                stream.write_all(&[byte])?;
                stream.flush()?;
                // So slowly, unless it is over.
                let mood = self.mood.lock().expect("no panic");
                let drips = |mood: &mut Mood| matches!(mood, Mood::Drips(_));
                drop(self.changed.wait_timeout_while(mood, Duration::from_millis(50), drips));
                Ok(())
            }),
            Mood::GoesOn => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                loop {
                    stream.write_all(b"1\r\n \r\n")?;
                }
            }
        }?;
        stream.flush()
    }
}

fn read(stream: &mut BufReader<impl Read>) -> std::io::Result<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let lower = head.to_ascii_lowercase();
    let len = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; len.map_or(0, |len| len.parse().expect("a length"))];
    stream.read_exact(&mut body)?;
    Ok(Request { head, body: String::from_utf8(body).expect("UTF-8") })
}
