//! Draws rules: few, small and nasty, about the names that are in use.

use super::Options;
use super::draw::topic_filter;
use dunlin_testkit::Random;

/// The words for what a rule allows or denies.
const ACTIONS: [&str; 4] = ["publish", "subscribe", "retain", "will"];

/// Topic Names below this belong to a device each.
pub(super) const OWN: &str = "own";

/// The text of a file of rules.
pub(super) fn rules(random: &mut Random, options: &Options) -> String {
    let mut text = format!("groups = {{ even = [{}] }}\n", evens(options));
    // Somebody loses all of it at once, or what he has as a member of a group.
    let lost = match random.below(8) {
        0 | 1 => Some("#"),
        2 => Some("$share/+/#"),
        _ => None,
    };
    if let Some(topic) = lost {
        let name = name(random, options);
        text.push_str(&format!(
            "[[rule]]\ndeny = [\"subscribe\"]\ntopics = [\"{topic}\"]\nclient = \"{name}\"\n"
        ));
    }
    for _ in 0..random.below(4) {
        text.push_str(&rule(random, options));
    }
    // Most of what nobody has thought of is allowed: who may do nothing shows nothing.
    let (topics, condition) = match random.below(20) {
        0 => (r##""a/#", "own/%c/#", "$share/+/#""##, String::new()),
        1 => (r##""#", "own/%u", "$share/g/#""##, String::new()),
        2 => {
            (r##""#", "$SYS/#", "$share/+/#""##, format!("client = {:?}\n", name(random, options)))
        }
        _ => (r##""#", "$SYS/#", "$share/+/#""##, String::new()),
    };
    text.push_str(&format!(
        "[[rule]]\nallow = [\"publish\", \"subscribe\", \"retain\", \"will\"]\ntopics = [{topics}]\n\
         {condition}"
    ));
    if random.chance(15) {
        text.push_str(&format!("qos_max = {}\n", random.below(2)));
    }
    text
}

/// The text of a file of rules by which everybody may do everything, but some of the devices, at
/// least one, may have nothing as members of groups.
pub(super) fn some_lose_groups(random: &mut Random, options: &Options) -> String {
    let mut names = vec![name(random, options)];
    for device in 0..options.devices {
        let name = format!("device-{device}");
        if random.chance(40) && !names.contains(&name) {
            names.push(name);
        }
    }
    format!(
        "[[rule]]\ndeny = [\"subscribe\"]\ntopics = [\"$share/+/#\"]\nclient = {names:?}\n{}",
        all_may()
    )
}

/// The text of a file of rules by which everybody may do everything.
pub(super) fn all_may() -> String {
    "[[rule]]\nallow = [\"publish\", \"subscribe\", \"retain\", \"will\"]\n\
     topics = [\"#\", \"$SYS/#\", \"$share/+/#\"]\n"
        .to_owned()
}

/// Some rule, which comes before that for all the rest.
fn rule(random: &mut Random, options: &Options) -> String {
    let is_denial = random.chance(65);
    let word = if is_denial { "deny" } else { "allow" };
    let first = random.index(ACTIONS.len());
    let mut actions = vec![ACTIONS[first]];
    actions.extend(ACTIONS.iter().filter(|action| **action != ACTIONS[first] && random.chance(40)));
    let may_share = actions.contains(&"subscribe");
    let topics: Vec<String> =
        (0..1 + random.below(2)).map(|_| topic(random, options, may_share)).collect();
    let mut text = format!("[[rule]]\n{word} = {actions:?}\ntopics = {topics:?}\n");
    let name = name(random, options);
    let condition = match random.below(12) {
        0 | 1 => format!("client = {name:?}\n"),
        2 => format!("user = {name:?}\n"),
        3 => format!("unless_client = {name:?}\n"),
        4 => format!("unless_user = {name:?}\n"),
        5 => format!("user = [\"device-*\", {name:?}]\n"),
        6 => "group = \"even\"\n".to_owned(),
        7 => "unless_group = \"even\"\n".to_owned(),
        _ => String::new(),
    };
    text.push_str(&condition);
    if !is_denial && random.chance(40) {
        text.push_str(&format!("qos_max = {}\n", random.below(3)));
    }
    if !is_denial && random.chance(20) {
        text.push_str(&format!("size_max = {}\n", random.below(40)));
    }
    text
}

fn topic(random: &mut Random, options: &Options, may_share: bool) -> String {
    match random.below(10) {
        0 => format!("{OWN}/%c"),
        1 => format!("{OWN}/%u"),
        2 => "#".to_owned(),
        3 if may_share => "$share/g/#".to_owned(),
        4 if may_share => format!("$share/+/{}", topic_filter(random, options)),
        _ => topic_filter(random, options),
    }
}

fn name(random: &mut Random, options: &Options) -> String {
    format!("device-{}", random.below(u64::from(options.devices)))
}

/// The devices with even numbers, as a list in the text.
fn evens(options: &Options) -> String {
    let names = (0..options.devices).step_by(2).map(|number| format!("\"device-{number}\""));
    names.collect::<Vec<_>>().join(", ")
}
