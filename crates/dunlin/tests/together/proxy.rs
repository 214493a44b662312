//! A TCP proxy between clients and the broker that can cut, stall, delay and turn away.

use dunlin_testkit::Random;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};

/// Bytes that go through at once at most.
const CHUNK_LEN: usize = 4096;

/// The proxy; dropping it ends it and its connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    target: SocketAddr,
    /// Whether new connections are let through.
    open: watch::Sender<bool>,
    /// Counts the cuts; each ends all connections that began before it.
    cuts: watch::Sender<u64>,
    /// Where the faults of each connection are drawn from; `None` for a faithful proxy.
    faults: Mutex<Option<Random>>,
    broken: AtomicU64,
}

/// The faults of one connection, drawn when it begins.
struct Faults {
    random: Random,
    /// The connection breaks after this many bytes, both directions taken together.
    bytes_left: u64,
    manner: Manner,
}

/// How a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Both ends see the end of the stream.
    Close,
    /// Both ends see a reset, and what was on its way is lost.
    Reset,
    /// The client sees a reset; the broker still believes in the connection.
    BrokerUnaware,
    /// The broker sees a reset; the client's end is silent for a while before it sees one too.
    ClientUnaware,
}

impl Proxy {
    /// A proxy that passes everything on faithfully.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        Self::start_with(target, None).await
    }

    /// A proxy whose connections break and stall by chance, until [`Proxy::calm`].
    pub(crate) async fn start_faulty(target: SocketAddr, random: Random) -> Self {
        Self::start_with(target, Some(random)).await
    }

    async fn start_with(target: SocketAddr, faults: Option<Random>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            target,
            open: watch::Sender::new(true),
            cuts: watch::Sender::new(0),
            faults: Mutex::new(faults),
            broken: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets all connections and turns new ones away until [`Proxy::open`].
    pub(crate) fn cut(&self) {
        self.shared.open.send_replace(false);
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets new connections through again.
    pub(crate) fn open(&self) {
        self.shared.open.send_replace(true);
    }

    /// No new connection has faults; those that stand break once more.
    pub(crate) fn calm(&self) {
        *self.shared.faults.lock().expect("no panic") = None;
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many connections have broken by chance.
    pub(crate) fn broken(&self) -> u64 {
        self.shared.broken.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        // The count is taken here: a cut from now on is one of this connection.
        let cuts = shared.cuts.subscribe();
        if !*shared.open.borrow() {
            continue;
        }
        let faults = shared.faults.lock().expect("no panic").as_mut().map(Faults::draw);
        tokio::spawn(pass(client, shared.clone(), cuts, faults));
    }
}

/// Passes one connection on until it ends or is cut.
async fn pass(
    mut client: TcpStream,
    shared: Arc<Shared>,
    mut cuts: watch::Receiver<u64>,
    mut faults: Option<Faults>,
) {
    let Ok(mut broker) = TcpStream::connect(shared.target).await else { return };
    client.set_nodelay(true).and(broker.set_nodelay(true)).expect("a TCP socket");
    let broke = {
        let passing = exchange(&mut client, &mut broker, &mut faults);
        tokio::select! {
            broke = passing => broke,
            _ = cuts.changed() => {
                reset(client);
                reset(broker);
                return;
            }
        }
    };
    let (Some(Faults { mut random, manner, .. }), true) = (faults, broke) else { return };
    shared.broken.fetch_add(1, Ordering::Relaxed);
    match manner {
        Manner::Close => {}
        Manner::Reset => {
            reset(client);
            reset(broker);
        }
        Manner::BrokerUnaware => {
            reset(client);
            let mut ignored = [0; CHUNK_LEN];
            let until_closed = async { while let Ok(1..) = broker.read(&mut ignored).await {} };
            tokio::select! {
                () = until_closed => {}
                _ = cuts.changed() => {}
            }
        }
        Manner::ClientUnaware => {
            reset(broker);
            stall(&mut random).await;
            reset(client);
        }
    }
}

fn reset(stream: TcpStream) {
    // Where it fails the connection is gone already.
    let _ = stream.set_zero_linger();
    drop(stream);
}

/// Passes bytes both ways; whether the connection broke by chance.
async fn exchange(
    client: &mut TcpStream,
    broker: &mut TcpStream,
    faults: &mut Option<Faults>,
) -> bool {
    let Some(faults) = faults else {
        let _ = tokio::io::copy_bidirectional(client, broker).await;
        return false;
    };
    let (mut client_reader, mut client_writer) = client.split();
    let (mut broker_reader, mut broker_writer) = broker.split();
    let faults = Mutex::new(faults);
    tokio::select! {
        broke = pump(&mut client_reader, &mut broker_writer, &faults) => broke,
        broke = pump(&mut broker_reader, &mut client_writer, &faults) => broke,
    }
}

/// Passes bytes one way, in pieces of any length; whether the connection broke by chance.
async fn pump(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    faults: &Mutex<&mut Faults>,
) -> bool {
    let mut buffer = [0; CHUNK_LEN];
    loop {
        let (longest, pause, turns) = faults.lock().expect("no panic").next_piece();
        if let Some(mut random) = pause {
            stall(&mut random).await;
        }
        for _ in 0..turns {
            yield_now().await;
        }
        let Ok(read @ 1..) = reader.read(&mut buffer[..longest]).await else { return false };
        let (passed, broke) = faults.lock().expect("no panic").spend(read);
        if writer.write_all(&buffer[..passed]).await.is_err() {
            return false;
        }
        if broke {
            return true;
        }
    }
}

/// Silence for a few milliseconds: what is being waited for here is time itself.
async fn stall(random: &mut Random) {
    let silence = Duration::from_millis(random.between(1..=30));
    let _ = tokio::time::timeout(silence, std::future::pending::<()>()).await;
}

impl Faults {
    fn draw(random: &mut Random) -> Self {
        let manners = [Manner::Close, Manner::Reset, Manner::BrokerUnaware, Manner::ClientUnaware];
        // Now and then within the first packets, else somewhere in the traffic.
        let bytes_left =
            if random.chance(20) { random.between(0..=200) } else { random.between(200..=12_000) };
        let manner = *random.pick(&manners);
        Self { random: Random::new(random.next_u64()), bytes_left, manner }
    }

    /// The next piece's greatest length, whether to stall first, and for how many turns of the
    /// scheduler to wait otherwise.
    fn next_piece(&mut self) -> (usize, Option<Random>, u64) {
        let random = &mut self.random;
        let longest = if random.chance(30) { 1 + random.index(16) } else { CHUNK_LEN };
        let pause = random.chance(2).then(|| Random::new(random.next_u64()));
        let turns = if random.chance(20) { random.below(50) } else { 0 };
        (longest, pause, turns)
    }

    /// How many of these bytes still pass, and whether the connection breaks after them.
    fn spend(&mut self, len: usize) -> (usize, bool) {
        let len = len as u64;
        let passed = len.min(self.bytes_left);
        self.bytes_left -= passed;
        (usize::try_from(passed).expect("below the chunk"), passed < len)
    }
}
