//! A back end that lets everybody in, or misbehaves.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

/// What it does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mood {
    /// It lets everybody in.
    Well,
    /// It takes requests, and says nothing.
    Hangs,
    /// It answers one byte at a time.
    Drips,
    /// It answers what makes no sense.
    Lies,
    /// It closes without a word.
    Leaves,
}

impl fmt::Display for Mood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Well => "well",
            Self::Hangs => "hangs",
            Self::Drips => "drips",
            Self::Lies => "lies",
            Self::Leaves => "leaves",
        })
    }
}

/// A back end on a port of its own, with a thread for each request.
#[derive(Debug)]
pub struct BackEnd {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    mood: Mutex<Mood>,
    changed: Condvar,
}

/// What it lets in with, and a key set of RFC 8037 for whoever asks for keys.
const ALLOW: &str = r#"{"allow": true}"#;
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

impl BackEnd {
    /// Starts one that is well.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { mood: Mutex::new(Mood::Well), changed: Condvar::new() });
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                // Whoever has heard enough closes before the end.
                thread::spawn(move || drop(state.serve(stream)));
            }
        });
        Ok(Self { address, state })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes its mood, and lets go of all requests that hang.
    pub fn set(&self, mood: Mood) {
        *self.state.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
        self.state.changed.notify_all();
    }
}

impl State {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        if mood == Mood::Leaves {
            return Ok(());
        }
        let mut stream = BufReader::new(stream);
        let asks_for_keys = read(&mut stream)?;
        let body = if asks_for_keys { KEYS } else { ALLOW };
        let stream = stream.get_mut();
        match mood {
            Mood::Well => stream.write_all(answer(body).as_bytes()),
            Mood::Drips => answer(body).bytes().try_for_each(|byte| {
                thread::sleep(Duration::from_millis(100));
                stream.write_all(&[byte])
            }),
            Mood::Lies => stream.write_all(answer(&"lies ".repeat(2_000_000)).as_bytes()),
            Mood::Hangs | Mood::Leaves => {
                let mood = self.mood.lock().unwrap_or_else(PoisonError::into_inner);
                drop(self.changed.wait_while(mood, |mood| *mood == Mood::Hangs));
                Ok(())
            }
        }
    }
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Reads a request; whether it is one for keys.
fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<bool> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let head = head.to_ascii_lowercase();
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let len = len.and_then(|len| len.parse().ok()).unwrap_or_default();
    stream.read_exact(&mut vec![0; len])?;
    Ok(head.starts_with("get "))
}
