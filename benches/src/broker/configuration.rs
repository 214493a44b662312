//! How each broker is configured: for its best speed, with no limit that would drop or hold back what
//! the load sends, and nothing kept on the disk unless it is asked for.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::{Program, Setup, free_address};

/// Adds the program and its arguments to a command, and writes its configuration to `folder`.
pub(super) fn append(
    program: &Program,
    command: &mut Command,
    address: SocketAddr,
    folder: &Path,
    setup: Setup<'_>,
) -> Result<()> {
    let with_file = |command: &mut Command, program: &Path, flag: &str, text: String| {
        let file = folder.join("broker.toml");
        fs::write(&file, text)?;
        command.arg(program).arg(flag).arg(file);
        anyhow::Ok(())
    };
    match program {
        Program::Mosquitto(path) => with_file(command, path, "-c", mosquitto(address, setup)),
        Program::Rumqttd(path) if setup.data.is_none() => {
            with_file(command, path, "--config", rumqttd(address))?;
            command.arg("--quiet");
            Ok(())
        }
        Program::Rumqttd(_) => bail!("rumqttd keeps nothing on the disk"),
        Program::Nats(path) => {
            let data = setup.data.map_or(folder, |(data, _)| data);
            with_file(command, path, "-c", nats(address, free_address()?, data))
        }
        Program::Dunlin { path, .. } => {
            command.arg(path).args(["broker", "--workers", "1"]);
            command.args(["--listen", &format!("mqtt://{address}")]);
            for limit in ["queue_len_max=10000000", "queue_bytes_max=100GB", "output_bytes_max=1GB"]
            {
                command.args(["--set", &format!("limits.{limit}")]);
            }
            if let Some((data, durability)) = setup.data {
                command.arg("--data").arg(data).args(["--durability", durability]);
            }
            Ok(())
        }
        Program::Relay(_) if setup.data.is_some() => bail!("a relay keeps nothing"),
        Program::Relay(path) => {
            let (listen, shape) = (address.to_string(), setup.shape.to_string());
            command.arg(path).args(["--listen", &listen, "--shape", &shape]);
            Ok(())
        }
    }
}

/// No queue with an end. By default it leaves the gathering of small writes to the kernel, and a
/// client as many messages as the load's window; where a message has to go out at once, and where
/// four packets go to and fro for each, both only cost.
fn mosquitto(address: SocketAddr, setup: Setup<'_>) -> String {
    let (port, host) = (address.port(), address.ip());
    let (nodelay, inflight) = if setup.at_once { (true, 0) } else { (false, 100) };
    let mut text = format!(
        "listener {port} {host}\nallow_anonymous true\nset_tcp_nodelay {nodelay}\n\
         max_inflight_messages {inflight}\nmax_queued_messages 0\n\
         log_type error\nlog_type warning\nuser root\n",
    );
    text.push_str(&match setup.data {
        None => "persistence false\n".to_owned(),
        Some((data, _)) => format!(
            "persistence true\npersistence_location {}/\n\
             autosave_interval 1\nautosave_on_changes false\n",
            data.display()
        ),
    });
    text
}

/// As its authors ship it, without the consoles and other listeners, with room for all connections
/// and no pause between two of them.
fn rumqttd(address: SocketAddr) -> String {
    format!(
        "id = 0\n[router]\nid = 0\nmax_connections = 100000\nmax_outgoing_packet_count = 200\n\
         max_segment_size = 104857600\nmax_segment_count = 10\n\
         [v4.1]\nname = \"v4-1\"\nlisten = \"{address}\"\nnext_connection_delay_ms = 0\n\
         [v4.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 268435455\n\
         max_inflight_count = 100\ndynamic_filters = true\n"
    )
}

/// Messages of QoS 1 and 2 go through its store, whatever one asks for. A client may not have more than
/// 65,535 under way in all its subscriptions together, and a filter with `#` at QoS 2 counts as three.
fn nats(address: SocketAddr, own_protocol: SocketAddr, data: &Path) -> String {
    format!(
        "server_name: bench\nlisten: \"{own_protocol}\"\njetstream {{ store_dir: \"{}\" }}\n\
         mqtt {{ listen: \"{address}\", max_ack_pending: 20000, js_api_timeout: \"60s\" }}\n",
        data.display()
    )
}
