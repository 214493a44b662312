//! Publish and subscribe with the async client.
//!
//! Run it beside a broker: `cargo run -p dunlin-examples --example publish_and_subscribe`, with
//! the broker's address as an argument when it is not 127.0.0.1:1883.

use dunlin_client::{Client, QoS};
use std::error::Error;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(error.as_ref()),
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());

    // The client drives itself on a task of its own and reconnects when it has to. `events` tells
    // what happens to the connection; it need not be read.
    let (client, _events) = Client::builder(&format!("mqtt://{address}"))?.connect().await?;

    // Every subscription is a stream of its own.
    let mut readings = client.subscribe("sensors/+/temperature", QoS::AtLeastOnce).await?;
    println!("subscribed, granted {:?}", readings.granted_qos());

    // Handles are cheap to clone and work from any task.
    let publisher = client.clone();
    let publishing = tokio::spawn(async move {
        for (sensor, celsius) in [("hall", "19.5"), ("attic", "27.0"), ("cellar", "11.2")] {
            let topic_name = format!("sensors/{sensor}/temperature");
            // Resolves once the broker has acknowledged the message.
            let ack = publisher.publish(topic_name, celsius).qos(QoS::AtLeastOnce).await?;
            println!("{sensor}: {}", ack.reason_code);
        }
        Ok::<(), dunlin_client::PublishError>(())
    });

    for _ in 0..3 {
        let Some(reading) = readings.next().await else { break };
        println!("{} = {}", reading.topic_name(), String::from_utf8_lossy(reading.payload()));
    }
    publishing.await??;

    // Waits for what is under way, then says goodbye.
    client.disconnect().await?;
    Ok(())
}

/// Says what went wrong, with what caused it.
fn report(error: &dyn Error) -> ExitCode {
    eprint!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}
