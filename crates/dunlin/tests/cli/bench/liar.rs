//! A relay between clients and a real broker that falsifies what it carries.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a relay does with the frames of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lie {
    /// Keeps it for itself.
    Drop,
    /// Sends it twice.
    Double,
    /// Sends it again behind the next PINGRESP.
    DoubleLate,
    /// Sends it behind the next one of its type.
    Swap,
    /// Alters the byte that lies so far before its end.
    Alter(usize),
    /// Makes a refusal of an acknowledgement of MQTT 5.
    Refuse,
    /// From this one on carries nothing more, whatever it is.
    FallSilent,
    /// Closes the connection instead.
    Close,
    /// Keeps every UNSUBSCRIBE from the broker, and answers it.
    FeignUnsubscribed,
}

/// Which frames are falsified, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plot {
    pub(super) lie: Lie,
    /// Packet type, from the broker to its clients.
    pub(super) packet_type: u8,
    /// What the frame has to hold, such as a part of a Topic Name.
    pub(super) holding: &'static str,
    /// The first of them that is falsified, counted from 0 over all connections.
    pub(super) first: usize,
    /// Every how many of them.
    pub(super) every: usize,
}

/// Starts a relay to the broker at `port`; gives its own port.
pub(super) fn start(port: &str, plot: Plot) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port().to_string();
    let broker = format!("127.0.0.1:{port}");
    let seen = Arc::new(Mutex::new(0));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(broker) = TcpStream::connect(&broker) else { return };
            let ends = (client.try_clone().unwrap(), broker.try_clone().unwrap());
            let answers = Arc::new(Mutex::new(client));
            let to_client = Arc::clone(&answers);
            thread::spawn(move || {
                let (mut client, mut broker) = ends;
                let _ = match plot.lie {
                    Lie::FeignUnsubscribed => feign(&client, &broker, &answers),
                    _ => std::io::copy(&mut client, &mut broker).map(|_| ()),
                };
                let _ = broker.shutdown(Shutdown::Write);
            });
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                let _ = carry(&broker, &to_client, plot, &seen);
                let _ = to_client.lock().unwrap().shutdown(Shutdown::Both);
                let _ = broker.shutdown(Shutdown::Both);
            });
        }
    });
    own
}

/// Carries frames from one client to the broker, but for each UNSUBSCRIBE, which it answers itself.
fn feign(
    mut client: &TcpStream,
    mut broker: &TcpStream,
    answers: &Mutex<TcpStream>,
) -> std::io::Result<()> {
    loop {
        let frame = read_frame(&mut client)?;
        match frame[0] {
            0xA2 => answers.lock().unwrap().write_all(&[0xB0, 2, frame[2], frame[3]])?,
            _ => broker.write_all(&frame)?,
        }
    }
}

/// Carries frames from the broker to one client.
fn carry(
    mut broker: &TcpStream,
    client: &Mutex<TcpStream>,
    plot: Plot,
    seen: &Mutex<usize>,
) -> std::io::Result<()> {
    let mut held: Option<Vec<u8>> = None;
    let mut late = Vec::new();
    let mut is_silent = false;
    loop {
        let mut frame = read_frame(&mut broker)?;
        let mut is_chosen = false;
        let holds =
            |text: &str| frame.windows(text.len().max(1)).any(|part| part == text.as_bytes());
        if frame[0] >> 4 == plot.packet_type && (plot.holding.is_empty() || holds(plot.holding)) {
            let mut seen = seen.lock().unwrap();
            is_chosen = *seen >= plot.first && (*seen - plot.first).is_multiple_of(plot.every);
            *seen += 1;
        }
        match plot.lie {
            Lie::Drop if is_chosen => continue,
            Lie::Double if is_chosen => frame = frame.repeat(2),
            Lie::DoubleLate if is_chosen => late.extend_from_slice(&frame),
            Lie::DoubleLate if frame[0] == 0xD0 => frame.append(&mut late),
            Lie::Swap if is_chosen => {
                held = Some(frame);
                continue;
            }
            Lie::Alter(at) if is_chosen => {
                let at = frame.len() - at;
                frame[at] ^= 1;
            }
            Lie::Refuse if is_chosen => frame = vec![frame[0], 3, frame[2], frame[3], 0x97],
            Lie::FallSilent if is_chosen => is_silent = true,
            Lie::Close if is_chosen => return Ok(()),
            _ => {}
        }
        if !is_silent {
            let mut client = client.lock().unwrap();
            client.write_all(&frame)?;
            // A PUBREL between the two does not change their order.
            if frame[0] >> 4 == plot.packet_type {
                client.write_all(&held.take().unwrap_or_default())?;
            }
        }
    }
}

fn read_frame(stream: &mut &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 2];
    stream.read_exact(&mut frame)?;
    let mut remaining = usize::from(frame[1] & 0x7F);
    let mut shift = 7;
    while frame.last().is_some_and(|byte| byte & 0x80 != 0) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        remaining |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        frame.push(byte[0]);
    }
    let start = frame.len();
    frame.resize(start + remaining, 0);
    stream.read_exact(&mut frame[start..])?;
    Ok(frame)
}
