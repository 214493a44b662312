//! What a run is like: drawn once, so that each seed stresses another corner.

use dunlin_broker::core::{Durability, QueueHead, QueuePart};
use dunlin_broker::{Limits, QueuePolicy};
use dunlin_testkit::Random;

/// A range of microseconds to draw from.
pub type Micros = (u64, u64);

/// The circumstances of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Workers of the broker.
    pub workers: u8,
    /// Devices with a Client Identifier of their own.
    pub devices: u32,
    /// Further devices, which use the Client Identifiers of the first ones.
    pub twins: u32,
    /// Devices that send what no Client may.
    pub malformed: u32,
    /// The broker's limits.
    pub limits: Limits,
    /// Whether the broker has a store.
    pub stores: bool,
    /// What acknowledgements mean. A broker crashes only as its level covers: at `fsync` with the
    /// power, at `written` alone, at `memory` not at all.
    pub durability: Durability,
    /// How long a sync takes.
    pub sync: Micros,
    /// How long a store fails before it is mended under the broker that runs; without it, it fails
    /// until the broker is started anew.
    pub mend: Option<Micros>,
    /// Whether the broker is told that its store fails, and takes nothing that it would store.
    pub tells_failure: bool,
    /// How much of a queue is in memory.
    pub queue_head: QueueHead,
    /// A store that keeps what the records add up to gives back longer queues by one record; one
    /// that keeps the log gives back the log.
    pub tail_from: Option<usize>,
    /// How long a store takes to give back messages of a queue.
    pub fetch: Micros,
    /// Whether it gives back what it had when it was asked, instead of what it has when it answers.
    pub fetches_early: bool,
    /// Whether it answers only once all is safe that came before.
    pub fetches_synced: bool,
    /// How long bytes are under way.
    pub latency: Micros,
    /// Bytes arrive in parts of at most this length.
    pub part_len_max: usize,
    /// Bytes that a direction of a connection holds before its writer has to wait.
    pub window: usize,
    /// Bytes a second through a connection, when there is a bound.
    pub bytes_per_second: Option<u64>,
    /// How long a worker that has something to do may take until it does it.
    pub turn_delay: Micros,
    /// Whether a turn may leave some of its work to the next one.
    pub partial_turns: bool,
    /// How long what a worker sends to another one is under way.
    pub mail_delay: Micros,
    /// Devices connect again by themselves after this time; never when `None`.
    pub reconnect: Option<Micros>,
    /// How long an application takes to acknowledge.
    pub ack_delay: Micros,
    /// Time between two actions.
    pub pace: Micros,
    /// Every so many actions, in a hundred, a rest of seconds comes before.
    pub rests: u64,
    /// Topic Names in use.
    pub topics: usize,
    /// Receive Maximum of Clients is at most this.
    pub receive_maximum: u16,
    /// Maximum Packet Size that some Clients set.
    pub packet_size_max: Option<u32>,
    /// Topic Aliases that Clients grant and use.
    pub topic_alias_max: u16,
    /// The longest usual payload.
    pub payload_len_max: usize,
    /// Publishes of these QoS are how frequent.
    pub qos_weights: [u64; 3],
    /// Publishes that are retained, in a hundred.
    pub retained: u64,
    /// Publishes with a Message Expiry Interval, in a hundred.
    pub expiring: u64,
    /// Subscriptions that are shared, in a hundred.
    pub shared: u64,
    /// Connections with a Will, in a hundred.
    pub wills: u64,
    /// Connections with Clean Start, in a hundred.
    pub clean_starts: u64,
    /// The longest Session Expiry Interval in use, in seconds; those that never expire aside.
    pub session_expiry_max_secs: u32,
    /// Whether at the end all devices begin anew at once, as after a power cut.
    pub boots: bool,
    /// Whether the broker asks who Clients are; the answers come by mail. Each is the user of its
    /// Client Identifier's name, unless `logins` says otherwise.
    pub authenticates: bool,
    /// What logins come to. Without it the answers come at once, nobody is turned away, and no
    /// session is another's.
    pub logins: Option<Logins>,
    /// The text of the file of rules at the start; without one, everybody may do everything.
    pub rules: Option<String>,
    /// How frequent each kind of action is.
    pub mix: Mix,
}

/// What logins come to; how frequent something is, in a hundred.
#[derive(Clone, Debug)]
pub struct Logins {
    /// How long an answer takes.
    pub delay: Micros,
    /// There is never an answer.
    pub silent: u64,
    /// The Client is turned away.
    pub denied: u64,
    /// It is let in as another user, or as nobody in particular.
    pub other: u64,
    /// It is let in for a time.
    pub limited: u64,
    /// How long that is.
    pub lasts: Micros,
    /// Devices of MQTT 5.0 that prove who they are in steps.
    pub enhanced: u64,
}

/// How frequent each kind of action is, compared with the others.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // each is what its name says
pub struct Mix {
    pub connect: u64,
    pub publish: u64,
    pub burst: u64,
    pub subscribe: u64,
    pub unsubscribe: u64,
    pub disconnect: u64,
    pub cut: u64,
    pub cut_after: u64,
    pub half_open: u64,
    pub silent_drop: u64,
    pub partition: u64,
    pub throttle: u64,
    pub stop_reading: u64,
    pub reset: u64,
    pub stall_store: u64,
    pub crash: u64,
    pub stop: u64,
    pub rules: u64,
    pub reauthenticate: u64,
}

impl Options {
    /// A quiet run without faults: what minimizing turns options to.
    pub fn plain() -> Self {
        Self {
            workers: 1,
            devices: 3,
            twins: 0,
            malformed: 0,
            limits: Limits { sys_interval_secs: 0, ..Limits::default() },
            stores: false,
            durability: Durability::Fsync,
            sync: (0, 0),
            mend: None,
            tells_failure: false,
            queue_head: SMALL_HEAD,
            tail_from: None,
            fetch: (0, 0),
            fetches_early: false,
            fetches_synced: false,
            latency: (1_000, 1_000),
            part_len_max: 1460,
            window: 256 * 1024,
            bytes_per_second: None,
            turn_delay: (0, 0),
            partial_turns: false,
            mail_delay: (0, 0),
            reconnect: Some((1_000, 100_000)),
            ack_delay: (0, 0),
            pace: (0, 50_000),
            rests: 3,
            topics: 4,
            receive_maximum: 20,
            packet_size_max: None,
            topic_alias_max: 0,
            payload_len_max: 40,
            qos_weights: [1, 1, 1],
            retained: 10,
            expiring: 5,
            shared: 10,
            wills: 20,
            clean_starts: 20,
            session_expiry_max_secs: 100,
            boots: false,
            authenticates: false,
            rules: None,
            logins: None,
            mix: Mix {
                connect: 8,
                publish: 50,
                burst: 6,
                subscribe: 12,
                unsubscribe: 4,
                disconnect: 4,
                cut: 4,
                cut_after: 2,
                half_open: 1,
                silent_drop: 1,
                partition: 1,
                throttle: 1,
                stop_reading: 2,
                reset: 1,
                stall_store: 2,
                crash: 0,
                stop: 0,
                rules: 0,
                reauthenticate: 0,
            },
        }
    }

    /// The options of a seed.
    pub fn draw(random: &mut Random) -> Self {
        let mut options = Self::plain();
        options.workers = *random.pick(&[1, 1, 2, 2, 2, 3, 4]);
        options.devices = random.between(2..=9) as u32;
        options.twins = if random.chance(30) { random.between(1..=2) as u32 } else { 0 };
        options.malformed = u32::from(random.chance(25));
        options.stores = random.chance(60);
        options.sync = *random.pick(&[(0, 0), (50, 500), (500, 20_000), (0, 300_000)]);
        options.latency =
            *random.pick(&[(0, 0), (10, 50), (1_000, 1_000), (500, 20_000), (0, 400_000)]);
        options.part_len_max = *random.pick(&[1, 7, 100, 1460, 1460, 65_536]);
        options.window = *random.pick(&[300, 4_096, 65_536, 262_144, 262_144]);
        options.bytes_per_second = *random.pick(&[None, None, None, Some(1_000_000), Some(20_000)]);
        options.turn_delay = *random.pick(&[(0, 0), (0, 10), (0, 200), (5, 5_000)]);
        options.partial_turns = random.chance(50);
        options.reconnect =
            *random.pick(&[None, Some((0, 1_000)), Some((1_000, 200_000)), Some((0, 5_000_000))]);
        options.ack_delay = *random.pick(&[(0, 0), (0, 0), (0, 5_000), (0, 2_000_000)]);
        options.pace = *random.pick(&[(0, 100), (0, 3_000), (0, 50_000), (0, 400_000)]);
        options.rests = *random.pick(&[0, 1, 3, 10]);
        options.topics = random.between(1..=8) as usize;
        options.receive_maximum = *random.pick(&[1, 2, 5, 20, 200, u16::MAX]);
        options.packet_size_max = *random.pick(&[None, None, Some(40), Some(128), Some(5_000)]);
        options.topic_alias_max = *random.pick(&[0, 1, 3, 10]);
        options.payload_len_max = *random.pick(&[10, 40, 40, 300, 3_000, 12_000]);
        options.qos_weights =
            *random.pick(&[[1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 0, 8], [0, 1, 0], [8, 1, 1]]);
        options.retained = *random.pick(&[0, 10, 10, 60]);
        options.expiring = *random.pick(&[0, 5, 40]);
        options.shared = *random.pick(&[0, 10, 60]);
        options.wills = *random.pick(&[0, 20, 80]);
        options.clean_starts = *random.pick(&[0, 10, 30]);
        options.session_expiry_max_secs = *random.pick(&[3, 30, 300]);
        draw_limits(random, &mut options.limits);
        draw_mix(random, &mut options.mix);
        if random.chance(50) {
            options.mix.crash += *random.pick(&[2, 2, 8]);
        }
        options.mail_delay = *random.pick(&[(0, 0), (0, 0), (0, 2_000), (0, 30_000)]);
        options.boots = random.chance(25);
        options
    }
}

/// The end of nearly every queue that waits is in the store alone.
const SMALL_HEAD: QueueHead = QueueHead {
    away: QueuePart { len: 1, bytes: 500 },
    connected: QueuePart { len: 2, bytes: 5_000 },
};

impl Options {
    /// Draws what concerns queues in a store.
    pub fn draw_queues(&mut self, random: &mut Random) {
        let small = SMALL_HEAD;
        // A page may be under way when more is there than a session that is away keeps.
        let medium = QueueHead {
            away: QueuePart { len: 1, bytes: 100 },
            connected: QueuePart { len: 10, bytes: 9_000 },
        };
        self.queue_head = *random.pick(&[small, small, medium, QueueHead::default()]);
        self.tail_from = *random.pick(&[None, Some(0), Some(1), Some(3), Some(100)]);
        self.fetch = *random.pick(&[(0, 0), (0, 500), (100, 20_000), (0, 300_000)]);
        self.fetches_early = random.chance(50);
        self.fetches_synced = random.chance(30);
        if random.chance(4) {
            self.limits.queue_policy = QueuePolicy::KeepLast;
        }
        let (memory, written, fsync) = (Durability::Memory, Durability::Written, Durability::Fsync);
        self.durability = *random.pick(&[memory, written, written, fsync, fsync, fsync, fsync]);
        let mends = [None, Some((0, 100_000)), Some((1_000_000, 20_000_000))];
        self.mend = *random.pick(&mends);
        self.tells_failure = random.chance(60);
        if self.stores && self.durability == memory {
            self.mix.crash = 0;
        }
        self.authenticates = random.chance(30);
    }

    /// Draws what concerns logins.
    pub(super) fn draw_logins(&mut self, random: &mut Random) {
        if !random.chance(if self.authenticates { 60 } else { 15 }) {
            return;
        }
        self.authenticates = true;
        self.logins = Some(Logins {
            delay: *random.pick(&[
                (0, 0),
                (0, 1_000),
                (0, 100_000),
                (0, 3_000_000),
                (0, 15_000_000),
            ]),
            silent: *random.pick(&[0, 0, 5, 20]),
            denied: *random.pick(&[0, 5, 30]),
            other: *random.pick(&[0, 0, 10, 30]),
            limited: *random.pick(&[0, 20, 70]),
            lasts: *random.pick(&[(0, 50_000), (0, 3_000_000), (1_000_000, 30_000_000)]),
            enhanced: *random.pick(&[0, 40, 100]),
        });
        self.mix.reauthenticate = *random.pick(&[0, 5, 5, 20]);
    }

    /// Draws what concerns rights.
    pub(super) fn draw_rights(&mut self, random: &mut Random) {
        if !random.chance(40) {
            return;
        }
        // Without a user's name few rules are about anybody.
        self.authenticates |= random.chance(80);
        self.rules = Some(super::rights::rules(random, self));
        self.mix.rules = *random.pick(&[0, 3, 8, 15, 40]);
    }
}

/// The policies that [`draw_limits`] draws.
const POLICIES: [QueuePolicy; 3] =
    [QueuePolicy::Refuse, QueuePolicy::DropOldest, QueuePolicy::DropNewest];

fn draw_limits(random: &mut Random, limits: &mut Limits) {
    limits.receive_maximum = *random.pick(&[1, 2, 10, 100, 1024]);
    limits.topic_alias_maximum = *random.pick(&[0, 2, 64]);
    limits.topic_alias_outbound_max = *random.pick(&[0, 2, 32]);
    limits.keep_alive_max_secs = *random.pick(&[0, 0, 5, 60]);
    limits.output_bytes_max = *random.pick(&[4_096, 4_096, 65_536, 1 << 20]);
    limits.queue_qos0_offline = random.chance(30);
    if random.chance(25) {
        limits.queue_len_max = *random.pick(&[1, 2, 5, 30]);
        limits.queue_policy = *random.pick(&POLICIES);
    }
    if random.chance(10) {
        limits.queue_bytes_max = *random.pick(&[100, 2_000, 20_000]);
        limits.queue_policy = *random.pick(&POLICIES);
    }
    if random.chance(15) {
        limits.packet_size_max = *random.pick(&[1_024, 8_192]);
    }
    if random.chance(10) {
        limits.subscriptions_per_session_max = *random.pick(&[1, 3]);
    }
    if random.chance(10) {
        limits.sessions_max = *random.pick(&[2, 4, 8]);
    }
    if random.chance(10) {
        limits.retained_len_max = *random.pick(&[0, 1, 3]);
    }
    if random.chance(10) {
        limits.session_expiry_max_secs = *random.pick(&[1, 10]);
    }
    if random.chance(15) {
        limits.sys_interval_secs = *random.pick(&[1, 10]);
    }
}

/// One or two kinds of trouble come much more often than usual, and some never.
fn draw_mix(random: &mut Random, mix: &mut Mix) {
    if random.chance(20) {
        // Nothing but messages and subscriptions.
        (mix.cut, mix.cut_after, mix.half_open, mix.silent_drop) = (0, 0, 0, 0);
        (mix.partition, mix.throttle, mix.stop_reading, mix.reset) = (0, 0, 0, 0);
    }
    for _ in 0..random.between(1..=2) {
        match random.below(14) {
            0 => mix.connect += 40,
            1 => mix.burst += 40,
            2 => (mix.subscribe, mix.unsubscribe) = (40, 30),
            3 => mix.disconnect += 25,
            4 => mix.cut += 30,
            5 => mix.cut_after += 30,
            6 => (mix.half_open, mix.silent_drop) = (10, 10),
            7 => (mix.partition, mix.throttle) = (10, 10),
            8 => mix.stop_reading += 30,
            9 => mix.reset += 8,
            10 => (mix.stall_store, mix.crash) = (15, 4),
            11 => mix.crash += 8,
            12 => mix.stop += 4,
            _ => mix.publish += 100,
        }
    }
}
