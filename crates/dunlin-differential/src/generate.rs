//! Random scripts: mostly traffic that means something, among few clients, topics and filters so
//! that they meet, with faults mixed in.

mod packets;

use crate::draft::Draft;
use crate::fault::spoil;
use crate::script::{Action, Answers, CLIENTS, Script, Step};
use dunlin_codec::ProtocolVersion;
use dunlin_testkit::Random;

/// One packet in so many is spoiled.
const FAULT_PERCENT: u64 = 6;

/// What the generator remembers of a client, as far as it can know without a broker.
#[derive(Clone, Debug)]
struct Client {
    version: ProtocolVersion,
    is_connected: bool,
    /// Which Client Identifier the connection uses; `None` for one that the broker chooses.
    identity: Option<usize>,
    /// Packet Identifiers of QoS 2 messages that wait for PUBREL.
    unreleased: Vec<u16>,
    /// Whether it releases them by itself.
    releases: bool,
    next_identifier: u16,
    aliases: Vec<u16>,
}

/// The packet of a step, and what is wrong with it on purpose.
struct Made {
    draft: Draft,
    fault: Option<&'static str>,
}

impl Made {
    fn right(draft: Draft) -> Self {
        Self { draft, fault: None }
    }
}

/// The script of this seed; the same for the same seed, whoever the brokers are.
pub(crate) fn script(seed: u64, versions: &[ProtocolVersion]) -> Script {
    let mut random = Random::new(seed);
    let version = |random: &mut Random| *random.pick(versions);
    let mut clients: [Client; CLIENTS] = core::array::from_fn(|_| Client {
        version: version(&mut random),
        is_connected: false,
        identity: None,
        unreleased: Vec::new(),
        releases: true,
        next_identifier: 1,
        aliases: Vec::new(),
    });
    let faults = *random.pick(&[0, FAULT_PERCENT, FAULT_PERCENT, 3 * FAULT_PERCENT]);
    let len = random.between(6..=30);
    let mut steps = Vec::new();
    for number in 0..len {
        let client = random.index(CLIENTS);
        if !clients[client].is_connected {
            if random.chance(10) {
                clients[client].version = version(&mut random);
            }
            steps.push(connect(&mut random, &mut clients, client, faults));
            continue;
        }
        let state = &mut clients[client];
        if random.chance(4) {
            state.is_connected = false;
            steps.push(Step { client, action: Action::Cut, fault: None });
            continue;
        }
        let made = packet(&mut random, state, number);
        steps.push(sent(&mut random, &mut clients[client], client, made, faults));
    }
    Script { seed, steps }
}

fn connect(random: &mut Random, clients: &mut [Client], client: usize, faults: u64) -> Step {
    let answers = match random.below(20) {
        0..=15 => Answers::All,
        16 | 17 => Answers::PubRecOnly,
        _ => Answers::None,
    };
    let identity = match random.below(20) {
        0 => None,
        1 | 2 => Some(random.index(CLIENTS)),
        _ => Some(client),
    };
    for other in clients.iter_mut() {
        if identity.is_some() && other.identity == identity {
            other.is_connected = false;
        }
    }
    let state = &mut clients[client];
    let version = state.version;
    let made = if random.chance(faults / 4) {
        Made {
            draft: packets::anything_but_connect(random, version),
            fault: Some("no CONNECT first"),
        }
    } else {
        let is_wrong = random.chance(faults);
        packets::connect(random, version, identity, is_wrong)
    };
    if random.chance(40) || identity != state.identity {
        state.unreleased.clear();
    }
    state.identity = identity;
    state.aliases.clear();
    state.releases = answers != Answers::None;
    state.is_connected = true;
    let step = sent(random, state, client, made, faults / 2);
    let Action::Send(bytes) = step.action else { return step };
    Step { action: Action::Connect { version, answers, bytes }, ..step }
}

/// Makes the step of a packet, spoiled now and then.
fn sent(random: &mut Random, state: &mut Client, client: usize, made: Made, faults: u64) -> Step {
    if made.fault.is_none() && random.chance(faults) {
        let (bytes, fault) = spoil(random, made.draft);
        state.is_connected = false;
        return Step { client, action: Action::Send(bytes), fault: Some(fault) };
    }
    if made.fault.is_some() || made.draft.first == 0xE0 {
        state.is_connected = false;
    }
    Step { client, action: Action::Send(made.draft.encode()), fault: made.fault }
}

fn packet(random: &mut Random, client: &mut Client, number: u64) -> Made {
    match random.below(100) {
        0..=49 => packets::publish(random, client, number),
        50..=69 => packets::subscribe(random, client),
        70..=77 => packets::unsubscribe(random, client),
        78..=81 if client.releases => packets::pubrel(random, client),
        78..=86 if !client.releases => packets::pubrel(random, client),
        87..=92 => packets::disconnect(random, client.version),
        93 | 94 => Made::right(packets::unexpected_ack(random, client.version)),
        95 => Made {
            draft: packets::of_the_server(random, client.version),
            fault: Some("a packet that only servers send"),
        },
        96 => packets::connect(random, client.version, client.identity, false).second(),
        97 if client.version.is_v5() => packets::auth(random),
        _ => Made::right(Draft::new(0xC0, Vec::new())),
    }
}

impl Made {
    fn second(self) -> Self {
        Self { fault: Some("a second CONNECT"), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use dunlin_codec::Decoder;

    const ALL: [ProtocolVersion; 3] =
        [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5];

    #[test]
    fn a_seed_gives_one_script() {
        for seed in 0..50 {
            assert_eq!(format!("{:?}", script(seed, &ALL)), format!("{:?}", script(seed, &ALL)));
        }
        assert_ne!(format!("{:?}", script(1, &ALL)), format!("{:?}", script(2, &ALL)));
    }

    #[test]
    fn what_has_no_fault_is_legal_and_most_have_none() {
        let (mut right, mut wrong) = (0, 0);
        for seed in 0..500 {
            let mut versions = [ProtocolVersion::V5; CLIENTS];
            for step in script(seed, &ALL).steps {
                let bytes = match &step.action {
                    Action::Connect { version, bytes, .. } => {
                        versions[step.client] = *version;
                        bytes
                    }
                    Action::Send(bytes) => bytes,
                    Action::Cut => continue,
                };
                if step.fault.is_some() {
                    wrong += 1;
                    continue;
                }
                right += 1;
                let mut input = BytesMut::from(&bytes[..]);
                let version = versions[step.client];
                let packet = Decoder::new(version, 1 << 20).decode(&mut input);
                assert!(matches!(packet, Ok(Some(_))), "{packet:?} {}", step.line(version));
                assert!(input.is_empty(), "{}", step.line(version));
            }
        }
        assert!(right > 4 * wrong && wrong > 100, "{right} right, {wrong} wrong");
    }
}
