//! Listening sockets.

use super::Stream;
use super::file_lock::FileLock;
use crate::config::SocketFile;
use crate::core::Durability;
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Access;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connections that the system holds until a worker takes them.
const BACKLOG: i32 = 4096;
/// How long a silent peer may be before the system asks whether it is there, and how often it
/// asks: a connection behind a NAT that forgot it ends, even without Keep Alive.
const PROBE_AFTER: Duration = Duration::from_secs(120);
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// What datagrams may take up before they are read, and before they are sent.
const DATAGRAM_BUFFER_LEN: usize = 2 * 1024 * 1024;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listening {
    /// By an address.
    Tcp(net::TcpListener),
    /// By a file, which goes with it.
    Unix(unix::UnixListener, BoundFile),
    /// By an address, datagrams: QUIC makes connections of them.
    Udp(net::UdpSocket),
}

/// The file of a listening socket; removed when this is dropped, unless it is another's by then.
#[derive(Debug)]
pub(crate) struct BoundFile {
    path: PathBuf,
    place: (u64, u64),
}

impl Drop for BoundFile {
    fn drop(&mut self) {
        // Who has the lock is about to replace it.
        let lock = FileLock::take(&self.path);
        if lock.is_ok()
            && place_of(&self.path).ok() == Some(self.place)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("{}: {error}", self.path.display());
        }
    }
}

/// Which file it is, whatever its name.
pub(super) fn place_of(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Listens by a file in the file system. One that nobody listens by is replaced, by one of those who
/// try to at the same time.
///
/// # Errors
/// What the system says; [`ErrorKind::AddrInUse`] also where there is a file that is no socket, or
/// another one is about to listen there.
pub(crate) fn bind_file(file: &SocketFile) -> io::Result<Listening> {
    let path = &file.path;
    let _lock = FileLock::take(path)?;
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ErrorKind::AddrInUse.into());
        }
        Ok(_) if !is_abandoned(path)? => return Err(ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    remove_unfinished(path);
    let first = first_name(path);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(&first)?)?;
    let finished = fs::set_permissions(&first, Permissions::from_mode(file.mode))
        .and_then(|()| socket.listen(BACKLOG))
        .and_then(|()| fs::rename(&first, path))
        .and_then(|()| place_of(path));
    match finished {
        Ok(place) => Ok(Listening::Unix(socket.into(), BoundFile { path: path.clone(), place })),
        Err(error) => {
            let _ = fs::remove_file(&first);
            Err(error)
        }
    }
}

/// Nobody connects before the mode of a socket is right: until then it has another name.
fn first_name(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{}", std::process::id()));
    PathBuf::from(name)
}

/// Looks whether [`bind_file`] could succeed, and changes nothing. Whether somebody listens there is not
/// looked at.
///
/// # Errors
/// As there.
pub(crate) fn look_at_file(file: &SocketFile) -> io::Result<()> {
    let path = &file.path;
    SockAddr::unix(first_name(path))?;
    let folder = path.parent().unwrap_or(path);
    if !fs::metadata(folder)?.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?;
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => Err(ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether nobody listens by the file of a socket. That it can't be asked says nothing of it: it may
/// be another's, or of another kind.
///
/// # Errors
/// Why it can't be asked.
fn is_abandoned(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Whoever listens and is too busy to accept would be waited for.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(false),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Ok(true),
            ErrorKind::WouldBlock => Ok(false),
            _ => Err(error),
        },
    }
}

/// Removes what brokers have left beside the file that were killed as they bound it. Within a
/// container all of them have the same number, and the next could not bind.
fn remove_unfinished(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let entry_name = entry.file_name();
        let rest = entry_name.as_bytes().strip_prefix(name.as_bytes());
        let Some([b'.', number @ ..]) = rest else { continue };
        let is_number = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
        let is_socket = || entry.file_type().is_ok_and(|kind| kind.is_socket());
        if is_number && is_socket() && is_abandoned(&entry.path()).unwrap_or(false) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Listening {
    /// The address, unless it is a file.
    pub(crate) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            Self::Unix(..) => Ok(None),
            Self::Udp(socket) => socket.local_addr().map(Some),
        }
    }

    /// Its file, if it has one.
    pub(crate) fn into_file(self) -> Option<BoundFile> {
        match self {
            Self::Tcp(_) | Self::Udp(_) => None,
            Self::Unix(_, file) => Some(file),
        }
    }
}

/// A listening socket that never blocks.
#[derive(Debug)]
pub(crate) enum Incoming {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Incoming {
    pub(crate) fn as_source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) => listener,
            Self::Unix(listener) => listener,
        }
    }

    fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                tracing::debug!(%address, "connection accepted");
                Ok(Stream::tcp(stream, address))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                tracing::debug!("connection of this machine accepted");
                Ok(Stream::Local(stream))
            }
        }
    }
}

impl AsFd for Incoming {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A listening socket as one worker sees it: all workers accept from the same one.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) listener: Incoming,
    /// Whether there may be connections that were not taken yet.
    pub(crate) is_ready: bool,
    /// How safe what must be before the Clients that come by it rely on it.
    pub(crate) durability: Durability,
    /// Its number among the listeners of the configuration.
    pub(crate) number: u16,
}

/// What accepting came to.
#[derive(Debug)]
pub(crate) enum Acceptance {
    /// A connection; there may be more.
    Connection(Stream),
    /// Nobody is there until the next event.
    Nobody,
    /// The system has no descriptor left, or some such: it may have one in a moment.
    Exhausted(io::Error),
}

/// Binds an address.
///
/// # Errors
/// What the system says: the address is in use, not this machine's, or not permitted.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Listening> {
    let socket = bound(address)?;
    socket.listen(BACKLOG)?;
    Ok(Listening::Tcp(socket.into()))
}

/// Looks whether [`bind`] could succeed, or [`bind_datagrams`] for QUIC. Nobody is heard meanwhile, and
/// the address is free again when this returns.
///
/// # Errors
/// As there.
pub(crate) fn look_at_address(address: SocketAddr, is_quic: bool) -> io::Result<()> {
    if is_quic { bound_for_datagrams(address) } else { bound(address) }.map(drop)
}

/// A socket that has the address and does not listen yet.
fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A broker that restarts must not wait for connections of its predecessor to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Linux hands these down to accepted sockets, which saves calls for each of them.
    socket.set_tcp_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    socket.set_tcp_keepalive(&keep_alive)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Binds an address for datagrams.
///
/// # Errors
/// As [`bind`].
pub(crate) fn bind_datagrams(address: SocketAddr) -> io::Result<Listening> {
    bound_for_datagrams(address).map(|socket| Listening::Udp(socket.into()))
}

fn bound_for_datagrams(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // All connections share it. There are systems that refuse what is beyond their own limit.
    let _ = socket.set_recv_buffer_size(DATAGRAM_BUFFER_LEN);
    let _ = socket.set_send_buffer_size(DATAGRAM_BUFFER_LEN);
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

impl Acceptor {
    /// The same listening socket, for another worker.
    pub(crate) fn new(
        listening: &Listening,
        durability: Durability,
        number: u16,
    ) -> io::Result<Self> {
        let listener = match listening {
            Listening::Tcp(listener) => Incoming::Tcp(TcpListener::from_std(listener.try_clone()?)),
            Listening::Unix(listener, _) => {
                Incoming::Unix(UnixListener::from_std(listener.try_clone()?))
            }
            // Nothing is accepted from it.
            Listening::Udp(_) => return Err(ErrorKind::Unsupported.into()),
        };
        Ok(Self { listener, is_ready: false, durability, number })
    }

    /// Takes a connection, if there is one.
    pub(crate) fn accept(&mut self) -> Acceptance {
        while self.is_ready {
            match self.listener.accept() {
                Ok(stream) => {
                    self.is_ready = self.has_connection();
                    return Acceptance::Connection(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_ready = false,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => {
                    self.is_ready = false;
                    return Acceptance::Exhausted(error);
                }
            }
        }
        Acceptance::Nobody
    }

    /// Whether there is a connection to take. Asking costs a fraction of an `accept` that finds
    /// none, which makes a socket before it looks.
    fn has_connection(&self) -> bool {
        let mut listener = [PollFd::new(&self.listener, PollFlags::IN)];
        // An `accept` tells what is wrong.
        poll(&mut listener, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where nobody else takes ports.
    const HERE: [u8; 4] = [127, 18, 8, 4];

    #[test]
    fn an_address_is_taken_by_its_own_kind_and_looking_takes_none() {
        let any = SocketAddr::from((HERE, 0));
        for (is_quic, listening) in [(false, bind(any)), (true, bind_datagrams(any))] {
            let listening = listening.expect("a free port");
            let address = listening.address().expect("bound").expect("an address");
            let taken = look_at_address(address, is_quic).expect_err("taken");
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
            assert!(look_at_address(address, !is_quic).is_ok());
            drop(listening);
            assert!(look_at_address(address, is_quic).is_ok());
            assert!(look_at_address(address, is_quic).is_ok());
        }
    }
}
