//! Rights for MQTT: who a client is, and what it may publish and subscribe to. Rules are read from
//! text, the answers come without IO, clocks or allocation.
//!
//! | | |
//! |---|---|
//! | [`Identity`], [`Subject`] | who somebody is, and from where he came; made only of checked names |
//! | [`Rules`] | a file of rules, ready to be asked |
//! | [`Profile`] | what of the rules concerns one [`Subject`]: made once, when it connects |
//! | [`Rules::publish`], [`Rules::receive`] | the rule that decides about a Topic Name |
//! | [`Rules::covers`] | whether a Topic Filter may be subscribed to |
//! | [`Rules::explain`] | the same for people: the deciding rule, and those that nearly matched |
//! | [`mosquitto`] | rules from Mosquitto's `acl_file` |
//!
//! ```
//! use dunlin_rights::{Covers, Identity, Rules, Subject};
//! use std::sync::Arc;
//!
//! let rules = Rules::parse(
//!     r#"
//!     [[rule]]
//!     deny   = ["publish", "subscribe"]
//!     topics = ["devices/+/secret/#"]
//!     unless_group = "operators"
//!
//!     [[rule]]
//!     allow  = ["publish", "subscribe"]
//!     topics = ["devices/%c/#"]
//!     user   = "sensor-*"
//!     qos_max = 1
//!     "#,
//! )?;
//! let identity = Identity::new(Some("sensor-7"), ["meters"])?;
//! let subject = Subject::new(Arc::new(identity), "dev-7".parse()?);
//! let profile = rules.profile(&subject);
//!
//! let verdict = rules.publish(&profile, "devices/dev-7/state");
//! assert!(verdict.publish.is_allowed());
//! assert_eq!(verdict.publish.rule().and_then(|rule| rules.rule(rule)).unwrap().line(), 7);
//! assert!(!rules.publish(&profile, "devices/dev-8/state").publish.is_allowed());
//!
//! // Some of what this Topic Filter matches is denied: each delivery has to ask.
//! let covers = rules.covers(&profile, &"devices/dev-7/#".parse()?);
//! assert!(matches!(covers, Covers::Holes(_)));
//! assert!(!rules.receive(&profile, None, "devices/dev-7/secret/key").is_allowed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a rule means
//! The first rule that matches decides; what no rule matches is denied. A rule matches when all its
//! conditions hold, it names the action, and one of its topics fits.
//! - The actions are `publish`, `subscribe`, `retain` and `will`, each decided by itself: a retained
//!   message needs `publish` and `retain`, a Will `publish` and `will`.
//! - `%c` and `%u` stand for the Client Identifier and the user name, as a whole level or with text
//!   beside them. They are compared, never pasted: a value that is empty, begins with `$` or holds
//!   `+`, `#` or `/` fits nowhere, also where it would be denied: no denial should hang on a name
//!   that its client may choose. (`%%` is a percent sign.)
//! - Names that begin with `$` are matched only by topics that write the `$`.
//! - A Shared Subscription is allowed only by a topic with `$share/`, such as `$share/+/jobs/#`, and
//!   denied by any: what is denied is denied however it is subscribed to.
//! - A Topic Filter may be subscribed to when one topic of an allowing rule contains it. A wider
//!   one is refused, not narrowed.
//! - Rules that came with an identity, such as in a token, decide where no rule of the file matches.
//!
//! # Cost
//! An answer allocates nothing and recurses nowhere. It follows the topics that agree with the
//! Topic Name so far, whatever the number of rules: those for up to eight names of users, clients or
//! groups lie in tries of their own, so that rules for ten thousand users cost each of them as much
//! as his own. Two shapes do cost by their number: rules with the same topic whose conditions are
//! all patterns, and topics with different text beside a `%c` at the same place. Other conditions
//! are looked at when a [`Profile`] is made; each different one takes a bit of it.

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod fuzzing;
mod identity;
pub mod mosquitto;
#[doc(hidden)]
pub mod reference;
mod rules;
mod suggest;

pub use identity::{
    GROUPS_MAX, Identity, InvalidIdentity, InvalidName, NAME_LEN_MAX, Subject, check_name,
};
pub use rules::{
    Action, Actions, Caps, Covers, Decision, END, Explanation, HalfWritten, InvalidTopicPattern,
    Mistake, NearMiss, Profile, PublishVerdict, Question, Refusal, Rule, RuleNumber, Rules,
    RulesError, WhyNot,
};
