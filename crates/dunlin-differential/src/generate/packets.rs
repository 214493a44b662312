//! The packets of random scripts, each type with the mistakes that only it can have.

use super::{Client, Made};
use crate::draft::{Draft, Field, Property, variable_byte_integer};
use dunlin_codec::ProtocolVersion;
use dunlin_testkit::Random;

/// Topic Names: one level and two, with an empty level, below each other.
const TOPIC_NAMES: [&str; 6] =
    ["~~~run~~/a", "~~~run~~/a/b", "~~~run~~/b", "~~~run~~", "~~~run~~//b", "~~~run~~/"];

const BAD_TOPIC_NAMES: [&str; 5] = ["", "~~~run~~/+", "~~~run~~/#", "~~~run~~/a#", "#"];

const TOPIC_FILTERS: [&str; 11] = [
    "~~~run~~/a",
    "~~~run~~/a/b",
    "~~~run~~/+",
    "~~~run~~/#",
    "~~~run~~/+/b",
    "~~~run~~/a/#",
    "~~~run~~/",
    "~~~run~~/+/+",
    "~~~run~~",
    "~~~run~~/+/#",
    "~~~run~~/b",
];

const BAD_TOPIC_FILTERS: [&str; 8] =
    ["", "~~~run~~/#/a", "~~~run~~/a#", "~~~run~~/+a", "~~~run~~/a+/b", "##", "~~~run~~/#/", "++"];

/// Wrong from MQTT 5.0 on.
const BAD_SHARED_FILTERS: [&str; 5] =
    ["$share/g", "$share/g/", "$share//~~~run~~/a", "$share/+/~~~run~~/a", "$share/g#/~~~run~~/a"];

fn word(random: &mut Random, words: &[&'static str]) -> &'static str {
    words[random.index(words.len())]
}

fn text(random: &mut Random, words: &[&'static str]) -> Field {
    Field::text(word(random, words))
}

fn topic_name(random: &mut Random) -> Field {
    text(random, &TOPIC_NAMES)
}

pub(super) fn connect(
    random: &mut Random,
    version: ProtocolVersion,
    identity: Option<usize>,
    is_wrong: bool,
) -> Made {
    let mut fault = None;
    let mut name = version.name();
    let mut level = version.level();
    let mut flags = if random.chance(40) || identity.is_none() { 0x02 } else { 0 };
    let will = random.chance(30);
    if will {
        flags |= 0x04 | (random.below(3) as u8) << 3 | if random.chance(30) { 0x20 } else { 0 };
    }
    let user_name = random.chance(10);
    let password = user_name && random.chance(50);
    flags |= if user_name { 0x80 } else { 0 } | if password { 0x40 } else { 0 };
    let mut client_identifier = identity.map_or(String::new(), |at| format!("~~~run~~-{at}"));
    let mut will_topic = topic_name(random);
    if is_wrong {
        fault = Some(match random.below(8) {
            0 => {
                level = *random.pick(&[0, 2, 6, 0x83, 0x84]);
                "an unknown protocol level"
            }
            1 => {
                name = word(random, &["MQtt", "mqtt", "", "MQIsd", "HTTP"]);
                "an unknown protocol name"
            }
            2 => {
                flags |= 1;
                "the reserved flag of CONNECT"
            }
            3 => {
                flags = flags | 0x18 | if will { 0 } else { 0x04 };
                "a Will of QoS 3"
            }
            4 => {
                flags = (flags & !0x3C) | 0x08 | (random.below(2) as u8) << 5;
                "Will QoS without a Will"
            }
            5 => {
                flags = (flags & !0xC0) | 0x40;
                "a Password without a User Name"
            }
            6 => {
                client_identifier.clear();
                flags &= !2;
                "no Client Identifier for a session that stays"
            }
            _ => {
                flags |= 0x04;
                will_topic = text(random, &BAD_TOPIC_NAMES);
                "a bad Topic Name of a Will"
            }
        });
    }
    let is_v5 = version.is_v5();
    let mut fields = vec![
        Field::text(name),
        Field::U8(level),
        Field::U8(flags),
        Field::U16(*random.pick(&[0, 60, 600])),
    ];
    if is_v5 {
        let mut properties = Vec::new();
        if random.chance(60) {
            properties
                .push(Property::new(0x11, Field::U32(*random.pick(&[0, 300, 300, u32::MAX]))));
        }
        if random.chance(15) {
            properties.push(Property::new(0x21, Field::U16(*random.pick(&[1, 2, 10]))));
        }
        if random.chance(10) {
            properties.push(Property::new(0x22, Field::U16(*random.pick(&[0, 1, 5]))));
        }
        if random.chance(8) {
            properties.push(Property::new(0x27, Field::U32(*random.pick(&[40, 60, 1000]))));
        }
        if random.chance(10) {
            properties.push(Property::new(0x17, Field::U8(random.below(2) as u8)));
        }
        if random.chance(10) {
            properties.push(Property::new(0x19, Field::U8(random.below(2) as u8)));
        }
        user_properties(random, &mut properties);
        fields.push(Field::Properties(properties));
    }
    fields.push(Field::text(&client_identifier));
    if flags & 0x04 != 0 {
        if is_v5 {
            let mut properties = message_properties(random);
            if random.chance(30) {
                properties.push(Property::new(0x18, Field::U32(*random.pick(&[0, 300]))));
            }
            fields.push(Field::Properties(properties));
        }
        fields.push(will_topic);
        fields.push(Field::text("will"));
    }
    if flags & 0x80 != 0 {
        fields.push(Field::text("user"));
    }
    if flags & 0x40 != 0 {
        fields.push(Field::text("secret"));
    }
    Made { draft: Draft::new(0x10, fields), fault }
}

fn user_properties(random: &mut Random, properties: &mut Vec<Property>) {
    for _ in 0..*random.pick(&[0, 0, 0, 0, 1, 2]) {
        let name = text(random, &["k", "l", ""]);
        properties.push(Property { identifier: 0x26, value: vec![name, Field::text("v")] });
    }
}

/// What a message may carry, also a Will.
fn message_properties(random: &mut Random) -> Vec<Property> {
    let mut properties = Vec::new();
    if random.chance(10) {
        properties.push(Property::new(0x01, Field::U8(random.below(2) as u8)));
    }
    if random.chance(10) {
        properties.push(Property::new(0x02, Field::U32(*random.pick(&[300, u32::MAX]))));
    }
    if random.chance(10) {
        properties.push(Property::new(0x03, Field::text("text/plain")));
    }
    if random.chance(10) {
        properties.push(Property::new(0x08, topic_name(random)));
    }
    if random.chance(10) {
        properties.push(Property::new(0x09, Field::Text(vec![0, 1, 2])));
    }
    user_properties(random, &mut properties);
    properties
}

pub(super) fn publish(random: &mut Random, client: &mut Client, number: u64) -> Made {
    let mut fault = None;
    let qos = *random.pick(&[0_u8, 1, 1, 2, 2]);
    let mut flags = qos << 1;
    // Of an unreleased message it is open whether it is retained already.
    if random.chance(20) && (client.releases || qos < 2) {
        flags |= 1;
    }
    let mut name = topic_name(random);
    let mut properties =
        if client.version.is_v5() { message_properties(random) } else { Vec::new() };
    let mut identifier = client.next_identifier;
    client.next_identifier += 1;
    if client.version.is_v5() && random.chance(12) {
        if !client.aliases.is_empty() && random.chance(60) {
            name = Field::text("");
            let alias = *random.pick(&client.aliases);
            properties.push(Property::new(0x23, Field::U16(alias)));
        } else {
            let alias = random.between(1..=4) as u16;
            client.aliases.push(alias);
            properties.push(Property::new(0x23, Field::U16(alias)));
        }
    }
    match random.below(100) {
        0..=2 => {
            name = text(random, &BAD_TOPIC_NAMES);
            fault = Some("a bad Topic Name");
        }
        3 => {
            flags |= 0x06;
            fault = Some("QoS 3");
        }
        4 if qos == 0 => {
            flags |= 8;
            fault = Some("DUP at QoS 0");
        }
        5 if qos > 0 => {
            identifier = 0;
            fault = Some("Packet Identifier 0");
        }
        6 if client.version.is_v5() => {
            properties.push(Property::new(0x0B, Field::Raw(variable_byte_integer(1))));
            fault = Some("a Subscription Identifier in a PUBLISH of a client");
        }
        7 if client.version.is_v5() => {
            properties.retain(|property| property.identifier != 0x23);
            let alias = *random.pick(&[0, 9, 500, u16::MAX]);
            name = Field::text("");
            properties.push(Property::new(0x23, Field::U16(alias)));
            fault = Some("a Topic Alias that stands for nothing");
        }
        8 if client.version.is_v5() => {
            properties.retain(|property| property.identifier != 0x08);
            let wrong = word(random, &["~~~run~~/+", "#", ""]);
            properties.push(Property::new(0x08, Field::text(wrong)));
            fault = Some("a bad Response Topic");
        }
        9 | 10 if qos == 2 && !client.unreleased.is_empty() => {
            // A repetition, as after a lost connection: it must not be published again.
            identifier = *random.pick(&client.unreleased);
            flags |= 8;
        }
        11 if qos == 1 => flags |= 8,
        _ => {}
    }
    let mut fields = vec![name];
    if flags & 0x06 != 0 {
        fields.push(Field::U16(identifier));
        if qos == 2
            && !client.releases
            && fault.is_none()
            && !client.unreleased.contains(&identifier)
        {
            client.unreleased.push(identifier);
        }
    }
    if client.version.is_v5() {
        fields.push(Field::Properties(properties));
    }
    let payload = match random.below(10) {
        0 if qos < 2 => Vec::new(),
        _ => format!("m{number}").into_bytes(),
    };
    fields.push(Field::Raw(payload));
    Made { draft: Draft::new(0x30 | flags, fields), fault }
}

pub(super) fn subscribe(random: &mut Random, client: &mut Client) -> Made {
    let is_v5 = client.version.is_v5();
    let mut fault = None;
    let mut fields = vec![Field::U16(client.next_identifier)];
    client.next_identifier += 1;
    if is_v5 {
        let mut properties = Vec::new();
        if random.chance(25) {
            let identifier = *random.pick(&[1, 2, 200]);
            properties.push(Property::new(0x0B, Field::Raw(variable_byte_integer(identifier))));
        }
        user_properties(random, &mut properties);
        fields.push(Field::Properties(properties));
    }
    let wrong_at = if random.chance(8) { Some(random.below(7)) } else { None };
    let count = *random.pick(&[1, 1, 1, 2, 3]);
    for at in 0..count {
        let mut filter = word(random, &TOPIC_FILTERS).to_owned();
        let mut options = random.below(3) as u8;
        let mut no_local = false;
        if is_v5 {
            no_local = random.chance(15);
            options |= if random.chance(30) { 8 } else { 0 };
            options |= (*random.pick(&[0, 0, 1, 2]) as u8) << 4;
        }
        if random.chance(6) && is_v5 {
            // A group of one, since which member gets a message is the broker's choice.
            let group = client.identity.map_or("x".to_owned(), |at| at.to_string());
            filter = format!("$share/g{group}/{filter}");
            no_local = false;
        }
        options |= if no_local { 4 } else { 0 };
        match wrong_at {
            Some(0 | 1) if at == 0 => {
                filter = word(random, &BAD_TOPIC_FILTERS).to_owned();
                fault = Some("a bad Topic Filter");
            }
            Some(2) if at == 0 && is_v5 => {
                filter = word(random, &BAD_SHARED_FILTERS).to_owned();
                fault = Some("a bad Shared Subscription");
            }
            Some(3) if at == 0 => {
                options |= 3;
                fault = Some("a subscription of QoS 3");
            }
            Some(4) if at == 0 => {
                options |= *random.pick(&[0x40, 0x80, 0xC0]);
                fault = Some("reserved bits of the Subscription Options");
            }
            Some(5) if at == 0 && is_v5 => {
                options |= 0x30;
                fault = Some("Retain Handling 3");
            }
            Some(6) if at == 0 && is_v5 => {
                filter = format!("$share/g/{filter}").replace("$share/g/$share", "$share");
                options |= 4;
                fault = Some("No Local on a Shared Subscription");
            }
            _ => {}
        }
        fields.push(Field::text(&filter));
        fields.push(Field::U8(options));
    }
    if random.chance(1) {
        fields.truncate(if is_v5 { 2 } else { 1 });
        fault = Some("no Topic Filter");
    }
    Made { draft: Draft::new(0x82, fields), fault }
}

pub(super) fn unsubscribe(random: &mut Random, client: &mut Client) -> Made {
    let mut fault = None;
    let mut fields = vec![Field::U16(client.next_identifier)];
    client.next_identifier += 1;
    if client.version.is_v5() {
        let mut properties = Vec::new();
        user_properties(random, &mut properties);
        fields.push(Field::Properties(properties));
    }
    for _ in 0..*random.pick(&[1, 1, 2]) {
        fields.push(text(random, &TOPIC_FILTERS));
    }
    match random.below(40) {
        0 => {
            fields.pop();
            fields.push(text(random, &BAD_TOPIC_FILTERS));
            fault = Some("a bad Topic Filter");
        }
        1 => {
            fields.truncate(if client.version.is_v5() { 2 } else { 1 });
            fault = Some("no Topic Filter");
        }
        _ => {}
    }
    Made { draft: Draft::new(0xA2, fields), fault }
}

/// Releases a message of QoS 2; one that the broker does not know now and then.
pub(super) fn pubrel(random: &mut Random, client: &mut Client) -> Made {
    let known = !client.unreleased.is_empty() && random.chance(90);
    let identifier = if known {
        let at = random.index(client.unreleased.len());
        client.unreleased.swap_remove(at)
    } else {
        random.between(60_000..=60_001) as u16
    };
    let fields = vec![Field::U16(identifier)];
    Made::right(with_reason(random, client.version, Draft::new(0x62, fields), &[0x00, 0x92]))
}

/// An acknowledgement of what was never sent.
pub(super) fn unexpected_ack(random: &mut Random, version: ProtocolVersion) -> Draft {
    let first = *random.pick(&[0x40, 0x50, 0x70]);
    let codes: &[u8] = if first == 0x70 { &[0x00, 0x92] } else { &[0x00, 0x10, 0x80, 0x97] };
    let fields = vec![Field::U16(random.between(50_000..=50_003) as u16)];
    with_reason(random, version, Draft::new(first, fields), codes)
}

/// Adds a Reason Code and properties, which MQTT 5.0 allows to leave out.
fn with_reason(
    random: &mut Random,
    version: ProtocolVersion,
    mut draft: Draft,
    codes: &[u8],
) -> Draft {
    if version.is_v5() && random.chance(40) {
        draft.fields.push(Field::U8(*random.pick(codes)));
        if random.chance(60) {
            let mut properties = Vec::new();
            if random.chance(30) {
                properties.push(Property::new(0x1F, Field::text("why")));
            }
            user_properties(random, &mut properties);
            draft.fields.push(Field::Properties(properties));
        }
    }
    draft
}

pub(super) fn disconnect(random: &mut Random, version: ProtocolVersion) -> Made {
    let mut draft = Draft::new(0xE0, Vec::new());
    let mut fault = None;
    if version.is_v5() && random.chance(60) {
        draft.fields.push(Field::U8(*random.pick(&[0x00, 0x04, 0x04, 0x80])));
        if random.chance(50) {
            let mut properties = Vec::new();
            if random.chance(60) {
                properties.push(Property::new(0x11, Field::U32(*random.pick(&[0, 300]))));
            }
            user_properties(random, &mut properties);
            draft.fields.push(Field::Properties(properties));
        } else if random.chance(10) {
            draft.fields[0] = Field::U8(*random.pick(&[0x8E, 0x9D, 0x01, 0xFF]));
            fault = Some("a Reason Code that clients do not send");
        }
    }
    Made { draft, fault }
}

pub(super) fn auth(random: &mut Random) -> Made {
    let mut properties = Vec::new();
    if random.chance(70) {
        properties.push(Property::new(0x15, Field::text("m")));
    }
    let code = *random.pick(&[0x18, 0x19, 0x00]);
    let fields = vec![Field::U8(code), Field::Properties(properties)];
    Made { draft: Draft::new(0xF0, fields), fault: Some("AUTH without an authentication method") }
}

/// A packet that flows from the server to the client.
pub(super) fn of_the_server(random: &mut Random, version: ProtocolVersion) -> Draft {
    let properties = || Field::Properties(Vec::new());
    let mut draft = match random.below(4) {
        0 => Draft::new(0x20, vec![Field::U16(0), properties()]),
        1 => Draft::new(0x90, vec![Field::U16(1), properties(), Field::U8(0)]),
        2 => Draft::new(0xB0, vec![Field::U16(1), properties(), Field::U8(0)]),
        _ => Draft::new(0xD0, Vec::new()),
    };
    if !version.is_v5() {
        draft.fields.retain(|field| !matches!(field, Field::Properties(_)));
    }
    draft
}

/// Any packet with which no connection begins.
pub(super) fn anything_but_connect(random: &mut Random, version: ProtocolVersion) -> Draft {
    let properties = if version.is_v5() { vec![Field::Properties(Vec::new())] } else { Vec::new() };
    match random.below(4) {
        0 => Draft::new(0xC0, Vec::new()),
        1 => Draft::new(0x30, [vec![topic_name(random)], properties].concat()),
        2 => Draft::new(0xE0, Vec::new()),
        _ => {
            let filter = vec![Field::text("~~~run~~/a"), Field::U8(0)];
            Draft::new(0x82, [vec![Field::U16(1)], properties, filter].concat())
        }
    }
}
