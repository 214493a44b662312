//! Draws the actions of a plan.

use super::rights::OWN;
use super::{
    Action, ConnectPlan, FilterPlan, Options, Planned, PublishPlan, SubscribePlan, WillPlan,
};
use crate::chance::{Purpose, random};
use core::time::Duration;
use dunlin_codec::{QoS, ReasonCode, RetainHandling};
use dunlin_protocol::Instant;
use dunlin_testkit::Random;

/// The Topic Names of a run are the first of these.
const TOPIC_NAMES: [&str; 8] = ["a", "a/b", "b", "a/b/c", "/a", "a//c", "c/d/e/f", "b/"];
const SHARE_NAMES: [&str; 2] = ["g", "h"];
const MAX_SECS: u32 = u32::MAX;

pub(super) fn actions(seed: u64, options: &Options, steps: u64) -> Vec<Planned> {
    let mut at = Instant::ZERO;
    let devices = u64::from(options.devices + options.twins + options.malformed);
    let mut boot_len = BOOT_ACTIONS * u64::from(options.devices);
    if options.rules.is_some() {
        boot_len += RULES_OF_BOOT + GROUP_ACTIONS * u64::from(options.devices);
    }
    let boot_from =
        if options.boots { steps.saturating_sub(boot_len).max(2 * devices) } else { steps };
    let mut planned = Vec::new();
    for number in 0..steps {
        let mut random = random(seed, Purpose::Actions, number);
        if let Some(after) = number.checked_sub(boot_from) {
            at = at + pause_of_boot(after, &mut random, options, number + 1 == steps);
            let (device, action) = boot(after, &mut random, options);
            planned.push(Planned { at, number, device, action });
            continue;
        }
        let micros = random.between(options.pace.0..=options.pace.1);
        at = at + Duration::from_micros(micros);
        if random.chance(options.rests) {
            at = at + Duration::from_millis(random.between(200..=12_000));
        }
        // Everybody connects and most subscribe before anything else.
        let (device, action) = match number {
            _ if number < devices => (number, Action::Connect(connect(&mut random, options))),
            _ if number < 2 * devices => {
                (number - devices, Action::Subscribe(subscribe(&mut random, options)))
            }
            _ => (random.below(devices), any(&mut random, options)),
        };
        let device = device as u32;
        let is_malformed = device >= options.devices + options.twins;
        let action = if is_malformed && number >= devices && !matches!(action, Action::Connect(_)) {
            Action::Raw(raw(&mut random, options))
        } else {
            action
        };
        planned.push(Planned { at, number, device, action });
    }
    planned
}

/// Actions of each device when all begin anew.
const BOOT_ACTIONS: u64 = 3;
/// And where there are rules, as a member of a group; and how often the rules change.
const GROUP_ACTIONS: u64 = 3;
const RULES_OF_BOOT: u64 = 2;
/// What the group subscribes to.
const GROUP_TOPIC: &str = "boot/group";

/// All connect; a little later each subscribes to what another one retains at that moment. Where there
/// are rules, all become members of a group then, of which some lose the right to it.
fn boot(after: u64, random: &mut Random, options: &Options) -> (u32, Action) {
    let devices = options.devices;
    let device = (after % u64::from(devices)) as u32;
    let name_of = |device: u32| format!("boot/{device}");
    if after < u64::from(devices) {
        return (
            device,
            Action::Connect(ConnectPlan { clean_start: true, ..connect(random, options) }),
        );
    }
    if let Some(after) = after.checked_sub(BOOT_ACTIONS * u64::from(devices)) {
        return boot_group(after, random, options);
    }
    // Each one of a pair by turns: the publish, and the SUBSCRIBE of the neighbour.
    let step = after - u64::from(devices);
    let publisher = (step / 2) as u32 % devices;
    let topic_name = name_of(publisher);
    if step.is_multiple_of(2) == publisher.is_multiple_of(2) {
        let plan = PublishPlan {
            topic_name,
            qos: QoS::AtLeastOnce,
            retain: true,
            expiry_secs: None,
            len: 20,
            properties: false,
        };
        return (publisher, Action::Publish(plan));
    }
    let filter = FilterPlan {
        topic_filter: topic_name,
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: random.chance(50),
        retain_handling: RetainHandling::Send,
    };
    let plan = SubscribePlan { identifier: None, filters: vec![filter] };
    ((publisher + 1) % devices, Action::Subscribe(plan))
}

/// All become members of a group; some lose the right to what it gets; messages come.
fn boot_group(after: u64, random: &mut Random, options: &Options) -> (u32, Action) {
    let devices = u64::from(options.devices);
    let device = ((after + devices - 1) % devices) as u32;
    if after == 0 {
        return (0, Action::Rules(super::rights::all_may()));
    }
    if after <= devices {
        let filter = FilterPlan {
            topic_filter: format!("$share/g/{GROUP_TOPIC}"),
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        let plan = SubscribePlan { identifier: None, filters: vec![filter] };
        return (device, Action::Subscribe(plan));
    }
    if after == devices + 1 {
        return (0, Action::Rules(super::rights::some_lose_groups(random, options)));
    }
    let plan = PublishPlan {
        topic_name: GROUP_TOPIC.to_owned(),
        qos: QoS::AtLeastOnce,
        retain: false,
        expiry_secs: None,
        len: 20,
        properties: false,
    };
    (device, Action::Publish(plan))
}

/// The time before an action of [`boot`]: all are connected before the first one subscribes, rules
/// are in force and answers are there before anybody relies on them, most often, and all is over
/// before the run ends.
fn pause_of_boot(after: u64, random: &mut Random, options: &Options, is_last: bool) -> Duration {
    let devices = u64::from(options.devices);
    let of_group = after.checked_sub(BOOT_ACTIONS * devices);
    let follows_another = |after: u64| after <= 1 || after == devices + 1 || after == devices + 2;
    match after {
        _ if is_last => Duration::from_secs(2),
        _ if after == devices => Duration::from_secs(3),
        _ if of_group.is_some_and(follows_another) && random.chance(80) => Duration::from_secs(1),
        _ => Duration::from_micros(random.between(0..=3_000)),
    }
}

fn any(random: &mut Random, options: &Options) -> Action {
    let mix = &options.mix;
    let weights = [
        mix.connect,
        mix.publish,
        mix.burst,
        mix.subscribe,
        mix.unsubscribe,
        mix.disconnect,
        mix.cut,
        mix.cut_after,
        mix.half_open,
        mix.silent_drop,
        mix.partition,
        mix.throttle,
        mix.stop_reading,
        mix.reset,
        mix.stall_store,
        mix.crash,
        mix.stop,
        mix.rules,
        mix.reauthenticate,
    ];
    match weighted(random, &weights) {
        0 => Action::Connect(connect(random, options)),
        1 => Action::Publish(publish(random, options)),
        2 => {
            let count = *random.pick(&[3, 10, 10, 40, 150]);
            Action::Burst(publish(random, options), count)
        }
        3 => Action::Subscribe(subscribe(random, options)),
        4 => {
            let count = 1 + random.below(2);
            Action::Unsubscribe(
                (0..count).map(|_| topic_filter_or_group(random, options)).collect(),
            )
        }
        5 => Action::Disconnect {
            reason_code: *random.pick(&[
                ReasonCode::Success,
                ReasonCode::Success,
                ReasonCode::DisconnectWithWillMessage,
                ReasonCode::UnspecifiedError,
            ]),
            session_expiry_interval: random.chance(30).then(|| expiry(random, options)),
        },
        6 => Action::Cut,
        7 => Action::CutAfter { up: random.chance(50), bytes: random.between(1..=300) },
        8 => Action::HalfOpen,
        9 => Action::SilentDrop,
        10 => Action::Partition {
            devices: random.between(1..=4) as u32,
            micros: random.between(1_000..=20_000_000),
        },
        11 => Action::Throttle {
            bytes_per_second: random.between(100..=5_000),
            micros: random.between(1_000..=20_000_000),
        },
        12 => Action::StopReading { micros: random.between(1_000..=10_000_000) },
        13 => Action::Reset,
        14 if options.stores && random.chance(10) => Action::FailStore,
        14 => Action::StallStore { micros: random.between(1_000..=5_000_000) },
        15 => Action::Crash { micros: random.between(0..=3_000_000) },
        16 => Action::Stop { micros: random.between(0..=3_000_000) },
        17 => Action::Rules(super::rights::rules(random, options)),
        _ => Action::Reauthenticate,
    }
}

/// An index, each as likely as its weight says.
fn weighted(random: &mut Random, weights: &[u64]) -> usize {
    let mut left = random.below(weights.iter().sum::<u64>().max(1));
    for (at, weight) in weights.iter().enumerate() {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return at,
        }
    }
    0
}

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn expiry(random: &mut Random, options: &Options) -> u32 {
    let short = random.below(u64::from(options.session_expiry_max_secs) + 1) as u32;
    *random.pick(&[0, short, short, MAX_SECS, MAX_SECS])
}

pub(super) fn connect(random: &mut Random, options: &Options) -> ConnectPlan {
    ConnectPlan {
        clean_start: random.chance(options.clean_starts),
        session_expiry_interval: random.chance(90).then(|| expiry(random, options)),
        keep_alive: *random.pick(&[0, 1, 2, 5, 30, 600]),
        receive_maximum: random
            .chance(70)
            .then(|| random.between(1..=u64::from(options.receive_maximum)) as u16),
        maximum_packet_size: options.packet_size_max.filter(|_| random.chance(50)),
        topic_alias_maximum: random.chance(60).then_some(options.topic_alias_max),
        topic_alias_outbound_max: random.below(u64::from(options.topic_alias_max) + 1) as u16,
        request_problem_information: *random.pick(&[None, Some(false), Some(true)]),
        in_flight_max: *random.pick(&[1, 3, 20, 1_000]),
        will: random.chance(options.wills).then(|| WillPlan {
            topic_name: topic_name(random, options),
            qos: *random.pick(&QOS),
            retain: random.chance(20),
            delay_secs: *random.pick(&[0, 0, 1, 5, 60]),
            expiry_secs: random.chance(options.expiring).then(|| *random.pick(&[1, 10, 100])),
        }),
    }
}

fn topic_name(random: &mut Random, options: &Options) -> String {
    if options.rules.is_some() && random.chance(20) {
        return format!("{OWN}/device-{}", random.below(u64::from(options.devices)));
    }
    if options.retained > 50 && random.chance(40) {
        return format!("r/{}", random.below(100));
    }
    (*random.pick(&TOPIC_NAMES[..options.topics.clamp(1, TOPIC_NAMES.len())])).to_owned()
}

fn publish(random: &mut Random, options: &Options) -> PublishPlan {
    let limit = options.limits.packet_size_max as usize;
    let len = match random.below(100) {
        0..3 if limit < 100_000 => *random.pick(&[limit - 30, limit, 10 * limit]),
        3..5 => 4_096 + random.index(2_000),
        _ => 1 + random.index(options.payload_len_max),
    };
    let retain = random.chance(options.retained);
    PublishPlan {
        topic_name: topic_name(random, options),
        qos: QOS[weighted(random, &options.qos_weights)],
        retain,
        expiry_secs: random.chance(options.expiring).then(|| *random.pick(&[1, 1, 5, 60])),
        len: if retain && random.chance(20) { 0 } else { len },
        properties: random.chance(10),
    }
}

fn topic_filter_or_group(random: &mut Random, options: &Options) -> String {
    let topic_filter = topic_filter(random, options);
    match random.chance(options.shared) {
        true => format!("$share/{}/{topic_filter}", random.pick(&SHARE_NAMES)),
        false => topic_filter,
    }
}

pub(super) fn topic_filter(random: &mut Random, options: &Options) -> String {
    let mut levels: Vec<String> =
        topic_name(random, options).split('/').map(str::to_owned).collect();
    for level in &mut levels {
        if random.chance(25) {
            "+".clone_into(level);
        }
    }
    if random.chance(30) {
        levels.truncate(random.index(levels.len() + 1));
        levels.push("#".to_owned());
    }
    let topic_filter = levels.join("/");
    if topic_filter.is_empty() { "+".to_owned() } else { topic_filter }
}

fn subscribe(random: &mut Random, options: &Options) -> SubscribePlan {
    let count = *random.pick(&[1, 1, 1, 2, 3, 8]);
    let filters = (0..count).map(|_| {
        let topic_filter = topic_filter_or_group(random, options);
        FilterPlan {
            qos: *random.pick(&QOS),
            no_local: random.chance(20) && !topic_filter.starts_with("$share"),
            retain_as_published: random.chance(30),
            retain_handling: *random.pick(&[
                RetainHandling::Send,
                RetainHandling::Send,
                RetainHandling::SendIfNew,
                RetainHandling::DoNotSend,
            ]),
            topic_filter,
        }
    });
    let filters = filters.collect();
    SubscribePlan { identifier: random.chance(30).then(|| 1 + random.below(200) as u32), filters }
}

/// Bytes that break the protocol in one way or another.
fn raw(random: &mut Random, options: &Options) -> Vec<u8> {
    if random.chance(30) {
        return flood(random, options);
    }
    let legal: [&[u8]; 8] = [
        b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3C\x00\x04evil",
        b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3C\x00\x00\x04evil",
        b"\x32\x08\x00\x01a\x00\x07abc",
        b"\x34\x08\x00\x01a\x00\x07abc",
        b"\x82\x06\x00\x01\x00\x01#\x00",
        b"\xC0\x00",
        b"\x40\x02\x00\x01",
        b"\x62\x02\x00\x05",
    ];
    let mut bytes = Vec::new();
    for _ in 0..random.between(1..=3) {
        bytes.extend_from_slice(legal[random.index(legal.len())]);
    }
    match random.below(4) {
        0 => random.bytes(1 + bytes.len()),
        1 => {
            bytes.truncate(1 + random.index(bytes.len()));
            bytes
        }
        2 => {
            let at = random.index(bytes.len());
            bytes[at] = random.next_u64() as u8;
            bytes
        }
        _ => bytes,
    }
}

/// More messages at once than the broker's Receive Maximum, if it is small: whoever sends two of
/// these over one connection exceeds it.
fn flood(random: &mut Random, options: &Options) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.chance(40) {
        bytes.extend_from_slice(b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3C\x00\x00\x04evil");
    }
    let first = random.below(60_000) as u16;
    for number in 1..=options.limits.receive_maximum.min(100) {
        let [high, low] = (first + number).to_be_bytes();
        bytes.extend_from_slice(&[0x34, 0x08, 0, 1, b'a', high, low, 0, b'b', b'c']);
    }
    bytes
}
