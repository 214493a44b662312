//! `dunlin pub --session-file` is killed: the next run sends what the last one has left.

use crate::life::{Random, Reaped, builder, linger, play, start_broker};
use dunlin_client::{QoS, Received};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const LINES: usize = 300;

fn publisher(url: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(["pub", url, "-t", "t", "-q", "2", "-i", "pub", "-l", "--session-file"]);
    command.arg(folder.join("session"));
    command
}

fn number(received: &Received) -> usize {
    std::str::from_utf8(received.payload()).expect("text").parse().expect("a number")
}

async fn command_is_killed(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let (broker, url) = start_broker();
    let (witness, _events) = builder(&url, "witness").connect().await.expect("connected");
    let mut stream = witness.subscribe("t", QoS::ExactlyOnce).await.expect("subscribed");
    let mut random = Random(seed);

    let mut killed =
        Reaped(publisher(&url, folder.path()).stdin(Stdio::piped()).spawn().expect("dunlin"));
    let lines: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    let mut input = killed.0.stdin.take().expect("a pipe");
    input.write_all(lines.as_bytes()).expect("it fits into the pipe");
    let mut arrived = Vec::new();
    for _ in 0..=random.below(40) {
        arrived.push(number(&stream.next().await.expect("the stream goes on")));
    }
    linger(&mut random).await;
    drop(killed);
    let before = arrived.len() + stream.waiting();

    let status = tokio::task::spawn_blocking({
        let mut command = publisher(&url, folder.path());
        move || command.stdin(Stdio::null()).status().expect("dunlin")
    });
    assert!(status.await.expect("it ends").success());
    witness.publish("t", "end").qos(QoS::ExactlyOnce).await.expect("published");
    loop {
        let received = stream.next().await.expect("the stream goes on");
        if received.payload() == "end" {
            break;
        }
        arrived.push(number(&received));
    }
    println!("seed {seed}: {before} lines before the kill, {} in all", arrived.len());
    assert_eq!(arrived, (0..arrived.len()).collect::<Vec<_>>(), "each once and in order");
    tokio::task::spawn_blocking(|| broker.stop()).await.expect("the broker stops");
}

#[test]
fn a_killed_command_is_finished_by_the_next_seed_1() {
    play(command_is_killed(1));
}

#[test]
fn a_killed_command_is_finished_by_the_next_seed_2() {
    play(command_is_killed(2));
}
