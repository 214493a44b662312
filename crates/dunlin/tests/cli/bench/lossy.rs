//! A network that loses datagrams.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;

/// The longest datagram.
const DATAGRAM_LEN: usize = 2048;

/// Carries datagrams to a port of this machine and back, and loses one of so many in each direction.
/// The port to send them to.
pub(super) fn relay(to: u16, one_of: usize) -> u16 {
    let front = Arc::new(bind());
    let port = front.local_addr().expect("an address").port();
    thread::spawn(move || {
        let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut datagram = [0; DATAGRAM_LEN];
        for nth in 1.. {
            let Ok((len, client)) = front.recv_from(&mut datagram) else { continue };
            let back = clients.entry(client).or_insert_with(|| {
                let back = Arc::new(bind());
                back.connect((Ipv4Addr::LOCALHOST, to)).expect("a broker");
                let (from, front) = (back.clone(), front.clone());
                thread::spawn(move || carry_back(&from, &front, client, one_of));
                back
            });
            if nth % one_of != 0 {
                // One that can't be sent is one more that is lost.
                let _ = back.send(&datagram[..len]);
            }
        }
    });
    port
}

fn carry_back(from: &UdpSocket, front: &UdpSocket, client: SocketAddr, one_of: usize) {
    let mut datagram = [0; DATAGRAM_LEN];
    for nth in 1.. {
        let Ok(len) = from.recv(&mut datagram) else { continue };
        if nth % one_of != 0 {
            let _ = front.send_to(&datagram[..len], client);
        }
    }
}

fn bind() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")
}
