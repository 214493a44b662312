//! A message through the core, from the bytes of its publisher to the bytes of each subscriber and
//! through all acknowledgements: one publisher to 1, 10 and 500 sessions, many to one, and pairs.
//! The time is that of the broker's turns alone, for each delivery.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dunlin_benches::micro::rounds::Rounds;
use dunlin_benches::traffic::{Shape, Traffic};
use dunlin_protocol::codec::ProtocolVersion;

/// Messages of a round, shared among its publishers: as many as a busy turn of a worker has.
const MESSAGES: u32 = 500;

fn messages(criterion: &mut Criterion) {
    let loads = [
        ("to-1", Traffic { clients: 1, ..Traffic::new(Shape::FanOut) }),
        ("to-10", Traffic { clients: 10, ..Traffic::new(Shape::FanOut) }),
        ("to-500", Traffic::new(Shape::FanOut)),
        ("fan-in", Traffic::new(Shape::FanIn)),
        ("pairs", Traffic::new(Shape::Pairs)),
        ("shared", Traffic::new(Shape::Shared)),
        ("wildcards-fresh", Traffic { is_fresh: true, ..Traffic::new(Shape::Wildcards) }),
    ];
    for (name, traffic) in loads {
        let mut group = criterion.benchmark_group(format!("core/{name}"));
        for qos in 0..=2 {
            let traffic = Traffic { qos, ..traffic };
            let each = MESSAGES.div_ceil(traffic.publishers() * traffic.receivers());
            let each = u16::try_from(each).expect("few messages");
            let mut rounds = Rounds::new(&traffic, ProtocolVersion::V3_1_1, each);
            let payload = vec![b'x'; traffic.payload_len];
            group.throughput(Throughput::Elements(rounds.deliveries()));
            group.bench_function(BenchmarkId::from_parameter(format!("qos{qos}")), |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..iterations {
                        rounds.run(&payload, &mut |bed| {
                            let began = Instant::now();
                            bed.turn();
                            spent += began.elapsed();
                        });
                    }
                    spent
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, messages);
criterion_main!(benches);
