//! What a million Sessions with a subscription each hold in memory, and what a publish among them
//! costs: one core, without sockets.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cap::Cap;
use clap::Parser;
use dunlin_benches::micro::bed::Bed;
use dunlin_benches::micro::filters::{Mix, shuffled, topic_name};
use dunlin_benches::micro::packets::{
    append, connect, connect_to_stay, identifier, publish, push_subscription, qos_of, subscribe,
};
use dunlin_benches::process;
use dunlin_benches::statistics::median;
use dunlin_protocol::codec::{Packet, ProtocolVersion};
use mimalloc::MiMalloc;

/// The allocator of the broker, with a count of the bytes that were asked for.
#[global_allocator]
static ALLOCATOR: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

const V5: ProtocolVersion = ProtocolVersion::V5;

/// Clients whose connecting is one turn.
const STEP: usize = 1_000;

/// Measure the memory of Sessions and Topic Filters, and the time of a publish among them.
#[derive(Debug, Parser)]
struct Options {
    /// How many Sessions, with one subscription each.
    #[arg(long, default_value_t = 1_000_000)]
    sessions: usize,
    /// How many of them are connected while the publishes are measured.
    #[arg(long, default_value_t = 10_000)]
    connected: usize,
    /// How many publishes are measured.
    #[arg(long, default_value_t = 200_000)]
    publishes: usize,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.connected <= options.sessions && options.connected > 0, "connect some of them");
    sessions(&options)?;
    connections(options.connected);
    filters(options.sessions);
    Ok(())
}

/// Says how many bytes each of `count` takes, of those that were asked of the allocator since there
/// were `before`.
fn tell_asked(before: usize, what: &str, count: usize) {
    let bytes = ALLOCATOR.allocated().saturating_sub(before) as f64 / count as f64;
    println!("{what:<52} {bytes:>8.0} bytes");
}

/// The index alone, by the kinds of filters.
fn filters(size: usize) {
    for mix in Mix::ALL {
        let before = ALLOCATOR.allocated();
        let index = mix.index(size);
        tell_asked(before, &format!("Topic Filter in an index of {size}, {}", mix.name()), size);
        drop(index);
    }
}

/// Sessions that are away, then some of them back, with publishes to those.
fn sessions(options: &Options) -> Result<()> {
    let (before, resident_before) = (ALLOCATOR.allocated(), resident()?);
    let mut bed = Bed::new();
    for from in (0..options.sessions).step_by(STEP) {
        let numbers = from..options.sessions.min(from + STEP);
        for number in numbers.clone() {
            let client = bed.open(V5);
            bed.send(client, &connect_to_stay(&client_identifier(number)));
            let mut packet = subscribe();
            push_subscription(&mut packet, &Mix::Mixed.topic_filter(number), qos_of(1));
            bed.send(client, &Packet::Subscribe(packet));
        }
        settle(&mut bed);
        numbers.for_each(|_| bed.close_last());
    }
    let what = format!("Session with a subscription, {}, away", options.sessions);
    tell_asked(before, &what, options.sessions);
    let resident = resident()?.saturating_sub(resident_before) as f64 / options.sessions as f64;
    println!("{:<52} {resident:>8.0} bytes", "  the same, as the kernel counts");
    for number in 0..options.connected {
        let client = bed.open(V5);
        bed.send(client, &connect_to_stay(&client_identifier(number)));
    }
    settle(&mut bed);
    let publisher = bed.open(V5);
    bed.send(publisher, &connect("publisher", V5));
    settle(&mut bed);
    let cold: Vec<_> = shuffled(options.connected);
    let hot = &cold[..cold.len().min(100)];
    // Names of Sessions that are away, with no end: what a look-up touches is in no cache.
    let away: Vec<_> = shuffled(options.sessions);
    let rows = [
        ("publish to one of those that are connected", &cold[..]),
        ("publish to a hundred of them in turn", hot),
        ("publish to any, nearly all away (QoS 0: dropped)", &away[..]),
    ];
    for (what, numbers) in rows {
        let mut samples = Vec::new();
        let mut left = options.publishes;
        let mut numbers = numbers.iter().cycle();
        while left > 0 {
            let count = left.min(STEP);
            left -= count;
            for number in numbers.by_ref().take(count) {
                let name = topic_name(*number);
                let packet = publish(&name, &[b'x'; 64], qos_of(0), identifier(1));
                append(&packet, V5, bed.to_send(publisher));
            }
            let began = Instant::now();
            bed.turn();
            samples.push(began.elapsed().as_nanos() as f64 / count as f64);
            settle(&mut bed);
        }
        let nanos = median(&samples).unwrap_or_default();
        println!("{what:<52} {nanos:>8.0} ns");
    }
    println!("{}", machine());
    Ok(())
}

/// Clients that stay connected, quiet.
fn connections(count: usize) {
    let before = ALLOCATOR.allocated();
    let mut bed = Bed::new();
    for number in 0..count {
        let client = bed.open(V5);
        bed.send(client, &connect(&client_identifier(number), V5));
        let mut packet = subscribe();
        push_subscription(&mut packet, &Mix::Mixed.topic_filter(number), qos_of(1));
        bed.send(client, &Packet::Subscribe(packet));
    }
    settle(&mut bed);
    tell_asked(before, &format!("connected Client with a subscription, {count}"), count);
}

/// Bytes that the kernel has given to this process.
fn resident() -> Result<u64> {
    process::resident(std::process::id()).context("reading /proc")
}

fn client_identifier(number: usize) -> String {
    format!("client-{number:07}")
}

/// Lets the broker finish, and forgets what it has written.
fn settle(bed: &mut Bed) {
    bed.turn();
    bed.forget_received();
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name\t: "));
    format!("measured on: {}", model.unwrap_or("an unknown processor"))
}
