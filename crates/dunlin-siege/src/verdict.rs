//! The rules that a broker under siege has to keep.

use crate::run::Record;
use crate::scene::Scene;

/// What may be resident afterwards.
pub(crate) const fn kept_max(scene: &Scene, before: u64) -> u64 {
    before + (scene.kept_max << 20)
}

/// The rules that were broken, a sentence each.
pub(crate) fn broken(record: &Record) -> Vec<String> {
    let mut broken = Vec::new();
    if !record.is_alive {
        broken.push("the broker takes no clients any more".to_owned());
    }
    match &record.pair {
        Ok(pair) => broken.extend(pair.wrong.iter().map(|wrong| format!("the pair: {wrong}"))),
        Err(error) => broken.push(format!("the pair could not begin: {error}")),
    }
    let memory = &record.memory;
    let growth_max = record.scene.growth_max << 20;
    if memory.growth() > growth_max {
        let (growth, most) = (mib(memory.growth()), record.scene.growth_max);
        broken.push(format!("memory grew by {growth:.1} MiB, more than {most} MiB"));
    }
    if memory.after > kept_max(&record.scene, memory.before) {
        let (before, after) = (mib(memory.before), mib(memory.after));
        broken.push(format!("memory was {before:.1} MiB before and {after:.1} MiB afterwards"));
    }
    broken.extend(record.tally.broken.iter().cloned());
    broken
}

/// MiB of so many bytes.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::Pair;
    use crate::run::Memory;
    use crate::scene::SCENES;
    use crate::swarm::Tally;
    use dunlin_bench::outcome::latencies;
    use std::time::Duration;

    fn record() -> Record {
        let pair = Pair { published: 10, delivered: 10, latencies: latencies(), wrong: Vec::new() };
        Record {
            scene: SCENES[0],
            time: Duration::from_secs(1),
            baseline: None,
            pair: Ok(pair),
            tally: Tally::default(),
            memory: Memory { before: 10 << 20, peak: 20 << 20, after: 12 << 20 },
            load_before: None,
            load: 0.5,
            counters: Default::default(),
            is_alive: true,
            broken: Vec::new(),
        }
    }

    /// What is wrong with a record that differs in one thing from one that is well.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Record), expected: &str) {
        let mut record = record();
        change(&mut record);
        let broken = broken(&record);
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(broken[0].contains(expected), "{broken:?}");
    }

    #[test]
    fn each_rule_can_be_broken() {
        assert_eq!(broken(&record()), Vec::<String>::new());
        check(|record| record.is_alive = false, "takes no clients");
        check(|record| record.pair = Err("refused".to_owned()), "could not begin: refused");
        check(
            |record| {
                let Ok(pair) = &mut record.pair else { return };
                pair.wrong.push("1 of 2 messages came".to_owned());
            },
            "the pair: 1 of 2",
        );
        check(|record| record.memory.peak = 500 << 20, "grew by 490.0 MiB");
        check(|record| record.memory.after = 30 << 20, "30.0 MiB afterwards");
        check(|record| record.tally.blame("a client was closed"), "a client was closed");
    }
}
