//! Both ends of a connection with their Sessions, joined in memory: messages of QoS 0, 1 and 2 in
//! each direction, from `publish` at one end to the last acknowledgement back there, for each.

use std::sync::Arc;

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dunlin_benches::micro::packets::{TOPIC_NAME, qos_of};
use dunlin_protocol::codec::{ProtocolVersion, ReasonCode, TransmitBuf};
use dunlin_protocol::{ClientConnection, Instant, Message, Progress, ServerConnection};
use dunlin_testkit::{Connection, Pair};

/// Messages that are under way at once.
const MESSAGES: usize = 20;
const NOW: Instant = Instant::ZERO;

/// A connection, what waits to be written, and what was read of the other end.
struct End<C> {
    connection: C,
    out: TransmitBuf,
    input: BytesMut,
}

impl<C: Connection> End<C> {
    fn new(connection: C) -> Self {
        Self { connection, out: TransmitBuf::new(), input: BytesMut::new() }
    }

    /// Takes all that has come, and acknowledges it.
    fn take(&mut self) {
        loop {
            match self.connection.handle_input(NOW, &mut self.input, &mut self.out) {
                Progress::Event(event) => {
                    if let Some(owed) = C::owed(&event) {
                        let given = self.connection.acknowledge(
                            NOW,
                            owed,
                            ReasonCode::Success,
                            &mut self.out,
                        );
                        given.expect("it is owed");
                    }
                }
                Progress::Packet => {}
                Progress::NeedInput => return,
                Progress::Closed => panic!("the end of it: {:?}", self.connection.end()),
            }
        }
    }
}

/// Moves what waits at one end to the other, which takes it; whether there was any.
fn pass<A, B: Connection>(from: &mut End<A>, to: &mut End<B>) -> bool {
    if from.out.is_empty() {
        return false;
    }
    while !from.out.is_empty() {
        let mut pieces = [&[][..]; 8];
        let filled = from.out.pieces(&mut pieces);
        pieces[..filled].iter().for_each(|piece| to.input.extend_from_slice(piece));
        from.out.advance(pieces[..filled].iter().map(|piece| piece.len()).sum());
    }
    to.take();
    true
}

fn ends(version: ProtocolVersion) -> (End<ClientConnection>, End<ServerConnection>) {
    let mut pair = Pair::connected(version);
    let client = pair.client.take().expect("connected").connection;
    let server = pair.server.take().expect("connected").connection;
    (End::new(client), End::new(server))
}

fn exchanges(criterion: &mut Criterion) {
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
        for qos in 0..=2 {
            let mut group = criterion.benchmark_group(format!("protocol/{version}/qos{qos}"));
            group.throughput(Throughput::Elements(MESSAGES as u64));
            let topic_name = TOPIC_NAME.parse().expect("a Topic Name");
            let mut message = Message::new(topic_name, vec![b'x'; 64]);
            message.qos = qos_of(qos);
            let message = Arc::new(message);
            let (mut client, mut server) = ends(version);
            group.bench_function(BenchmarkId::from_parameter("to-server"), |bencher| {
                bencher.iter(|| {
                    for _ in 0..MESSAGES {
                        let sent = client.connection.publish(NOW, &message, &mut client.out);
                        sent.expect("there is room");
                    }
                    while pass(&mut client, &mut server) | pass(&mut server, &mut client) {}
                });
            });
            let (mut client, mut server) = ends(version);
            group.bench_function(BenchmarkId::from_parameter("to-client"), |bencher| {
                bencher.iter(|| {
                    for _ in 0..MESSAGES {
                        let connection = &mut server.connection;
                        let sent = connection.publish(
                            NOW,
                            &message,
                            message.qos,
                            false,
                            &[],
                            &mut server.out,
                        );
                        sent.expect("there is room");
                    }
                    while pass(&mut server, &mut client) | pass(&mut client, &mut server) {}
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, exchanges);
criterion_main!(benches);
