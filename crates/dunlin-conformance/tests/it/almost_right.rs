//! Checks notice a single bad habit, and pass at the same server without it.

use super::small_broker::{Habit, start};
use dunlin_conformance::server::{Case, TABLES, Target, judge};
use dunlin_conformance::{BOTH, Finding, Outcome, cases, run};
use std::time::Duration;

/// The habits, and the checks that have to notice each; `v5/` where only one version shows it.
const NOTICED: &[(Habit, &[&str])] = &[
    (
        Habit::WrongIdentifiers,
        &[
            "fixed-header/packets-in-pieces",
            "malformed-properties/user-property-repeats",
            "subscribe/suback-has-its-packet-identifier",
            "unsubscribe/unsuback-has-its-packet-identifier",
            "unsubscribe/unknown-filter",
        ],
    ),
    (
        Habit::RefusesQoS2,
        &["subscribe/any-qos-is-accepted", "wills/qos-beyond-the-server", "limits/maximum-qos"],
    ),
    (Habit::RefusesRetain, &["wills/retain-beyond-the-server", "limits/retain-available"]),
    (
        Habit::Impatient,
        &[
            "keep-alive/pingreq-keeps-alive",
            "keep-alive/any-packet-keeps-alive",
            "keep-alive/zero-is-off",
            "keep-alive/of-the-server",
        ],
    ),
    (Habit::AnswersTwice, &["keep-alive/pingreq-is-answered"]),
    (
        Habit::Talkative,
        &[
            "disconnect/fits-the-maximum-packet-size",
            "limits/no-problem-information-unasked",
            "limits/packets-fit-the-client",
        ],
    ),
    (Habit::NamesMethod, &["authentication/none-asked-none-said"]),
    (Habit::BeginsWithAuth, &["authentication/no-auth-instead-of-connack"]),
    (
        Habit::SubscribesTwice,
        &[
            "subscribe/same-filter-replaces",
            "subscribe/same-filter-replaces-by-a-lower-qos",
            "subscribe/same-filter-twice-in-one-packet",
            "subscription-identifiers/replaced",
        ],
    ),
    (Habit::RetainedOnce, &["subscribe/replacement-sends-retained-again"]),
    (
        Habit::IgnoresNoLocal,
        &[
            "subscribe/no-local",
            "subscribe/options-are-of-the-subscription",
            "sessions/options-are-kept",
        ],
    ),
    (
        Habit::ForgetsIdentifiers,
        &[
            "subscription-identifiers/comes-back",
            "subscription-identifiers/of-all-filters-of-the-packet",
            "subscription-identifiers/survive-with-the-session",
        ],
    ),
    (
        Habit::ReversesCodes,
        &["subscribe/one-code-for-each-filter", "v5/unsubscribe/one-code-for-each-filter"],
    ),
    (
        Habit::KeepsSubscriptions,
        &[
            "unsubscribe/stops-new-messages",
            "unsubscribe/several-filters",
            "unsubscribe/holds-for-the-session",
            "unsubscribe/only-the-own-subscription",
        ],
    ),
    (Habit::UnsubscribesByMatching, &["unsubscribe/compares-characters"]),
    (Habit::IgnoresCase, &["topics/case"]),
    (Habit::Trims, &["topics/spaces", "strings/byte-order-mark-is-kept"]),
    (Habit::MatchesLess, &["topics/hash", "topics/plus", "topics/plus-and-hash"]),
    (Habit::MatchesMore, &["topics/plus", "topics/plus-and-hash", "shared/wildcards"]),
    (Habit::ShowsDollar, &["topics/wildcards-do-not-match-dollar", "topics/sys-not-for-wildcards"]),
    (
        Habit::SharesWithAll,
        &[
            "shared/one-member-for-each-message",
            "shared/every-group",
            "shared/beside-ordinary-subscriptions",
        ],
    ),
    (Habit::SharesRetained, &["shared/no-retained-messages"]),
    (
        Habit::AlwaysWill,
        &["wills/not-after-disconnect", "wills/none-given", "disconnect/every-form-of-normal"],
    ),
    (
        Habit::RarelyWill,
        &[
            "wills/after-a-cut",
            "wills/after-a-malformed-packet",
            "wills/after-a-second-connect",
            "wills/after-keep-alive",
            "wills/after-disconnect-with-will",
            "disconnect/reserved-flags",
        ],
    ),
    (Habit::FlatWill, &["wills/qos", "wills/retained", "wills/properties"]),
    (Habit::RetainedWill, &["wills/not-retained"]),
    (Habit::ForgetsSubscriptions, &["sessions/taken-over", "sessions/taken-over-many-times"]),
    (Habit::MixesClients, &["sessions/one-for-each-client-identifier"]),
    (Habit::EndsAll, &["disconnect/fault-ends-that-connection-alone"]),
];

/// Checks that need a server that does most things right before they can fail.
pub(super) fn is_noticed_here(case: &Case) -> bool {
    NOTICED.iter().any(|(_, checks)| checks.iter().any(|check| is_meant(case, check)))
}

fn is_meant(case: &Case, check: &str) -> bool {
    case.check.name == check || case.name() == check
}

fn findings(habit: Habit, patience: Duration, cases: &[Case]) -> Vec<Finding> {
    let mut target = Target::new(start(habit));
    target.patience = patience;
    run(cases, 32, |case, number| judge(&target, case, number), |_| {})
}

#[test]
fn a_single_bad_habit_is_noticed() {
    let mut unnoticed = Vec::new();
    for (habit, checks) in NOTICED {
        let concerned: Vec<Case> = cases(TABLES, BOTH)
            .into_iter()
            .filter(|case| checks.iter().any(|check| is_meant(case, check)))
            .collect();
        assert!(concerned.len() >= checks.len(), "{habit:?} names a check that there is not");
        // What is missing then is missing for good; the keep alive of a check takes 1.5 seconds.
        let findings = findings(*habit, Duration::from_millis(800), &concerned);
        let passed = findings.into_iter().filter(|finding| !finding.is_failed());
        unnoticed.extend(passed.map(|finding| format!("{habit:?}: {}", finding.name)));
    }
    assert_eq!(unnoticed, [""; 0]);
}

#[test]
fn without_a_bad_habit_the_same_checks_pass() {
    let concerned: Vec<Case> = cases(TABLES, BOTH).into_iter().filter(is_noticed_here).collect();
    let findings = findings(Habit::None, Duration::from_secs(30), &concerned);
    let failed: Vec<String> = findings
        .into_iter()
        .filter(|finding| !matches!(finding.outcome, Outcome::Passed { .. }))
        .map(|finding| format!("{}: {:?} {:#?}", finding.name, finding.outcome, finding.exchange))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
