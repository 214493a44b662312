//! Bodies of fuzz targets: they panic where the tries and the reference disagree.

use crate::reference::{Expected, agrees, covers, decide};
use crate::rules::{Action, Rule};
use crate::{Identity, Question, Rules, Subject, mosquitto};
use dunlin_codec::{Text, TopicFilter};
use std::sync::Arc;

/// How many levels the reference tries, and so how many a Topic Filter may have to be compared.
const DEPTH_MAX: usize = 3;

/// With more topics than this the reference takes too long for Topic Filters.
const TOPICS_MAX: usize = 24;

/// A file of rules, behind a line feed and `---`: user, Client Identifier, Topic Name or Filter, one
/// on each line. The same text as Mosquitto's must not panic either.
pub fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, questions) = text.split_once("\n---\n").unwrap_or((text, ""));
    if let Ok(import) = mosquitto::import(file) {
        let read = Rules::parse(&import.rules);
        assert!(read.is_ok(), "imported rules are legal: {read:?}\n{}", import.rules);
    }
    let Ok(rules) = Rules::parse(file) else { return };
    let mut lines = questions.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (user, client) = (line(), line());
    let user = Some(user).filter(|user| !user.is_empty());
    let Ok(identity) = Identity::new(user, []) else { return };
    let Ok(client) = client.parse::<Text>() else { return };
    let subject = Subject::new(Arc::new(identity), client);
    for topic in lines.take(8) {
        check(&rules, &subject, topic);
    }
}

/// All questions about one topic.
pub(crate) fn check(rules: &Rules, subject: &Subject, topic: &str) {
    let profile = rules.profile(subject);
    let agree = |action, decision, expected| {
        assert!(
            agrees(rules, action, decision, expected),
            "{action} {topic:?} by {subject:?}: {decision:?}, not {expected:?}"
        );
    };
    if !topic.is_empty() && !topic.contains(['+', '#']) {
        let verdict = rules.publish(&profile, topic);
        for (action, decision) in [
            (Action::Publish, verdict.publish),
            (Action::Retain, verdict.retain),
            (Action::Will, verdict.will),
        ] {
            agree(action, decision, decide(rules, subject, action, None, topic));
        }
        for share_name in [None, Some("g"), Some("other")] {
            let decision = rules.receive(&profile, share_name, topic);
            let action = Action::Subscribe;
            agree(action, decision, decide(rules, subject, action, share_name, topic));
        }
        rules.explain(subject, Question::Publish(topic));
    }
    let Ok(filter) = topic.parse::<TopicFilter>() else { return };
    let explanation = rules.explain(subject, Question::Subscribe(&filter));
    rules.describe(&explanation, "rules.toml");
    let depth = |text: &str| text.split('/').count();
    let topics = || rules.rules().iter().flat_map(Rule::topics);
    let longest = topics().map(|topic| topic.levels.len()).max().unwrap_or_default();
    let is_small = topics().count() <= TOPICS_MAX;
    if is_small && depth(filter.matching_part()).max(longest) <= DEPTH_MAX {
        let expected = covers(rules, subject, &filter, DEPTH_MAX + 1);
        let covers = Expected::from(rules.covers(&profile, &filter));
        assert_eq!(covers, expected, "{filter:?} by {subject:?}");
    }
}
