//! Runs cases side by side.

use crate::report::{Finding, Outcome};
use crate::{Case, Exchange, Stop, Verdict};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Why a check is skipped that was not begun.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// Runs the cases on `jobs` threads and gives what they found, in the order of the cases.
///
/// `judge` runs one case (its number is the second parameter) and gives the exchange that led to
/// the verdict. `progress` hears of each finding as it is made, from whichever thread made it.
pub fn run<B>(
    cases: &[Case<B>],
    jobs: usize,
    judge: impl Fn(&Case<B>, usize) -> (Verdict, Exchange) + Sync,
    progress: impl Fn(&Finding) + Sync,
) -> Vec<Finding> {
    let next = AtomicUsize::new(0);
    let findings = Mutex::new(Vec::with_capacity(cases.len()));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(at) else { return };
            let start = Instant::now();
            let (verdict, exchange) = judge(case, at);
            let finding = Finding::new(case, Outcome::from(verdict), &exchange, start.elapsed());
            progress(&finding);
            findings.lock().unwrap_or_else(PoisonError::into_inner).push((at, finding));
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, cases.len().max(1)) {
            scope.spawn(work);
        }
    });
    let mut findings = findings.into_inner().unwrap_or_else(PoisonError::into_inner);
    findings.sort_by_key(|(at, _)| *at);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// The verdict of a check that may panic: that is a failure of the check.
pub fn guarded(check: impl FnOnce() -> Verdict) -> Verdict {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| {
        Err(Stop::Failed(format!("the check itself panicked: {}", text_of(&*panic))))
    })
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BOTH, Check, V5, cases, failed, passed, skipped};

    const TABLE: &[Check<()>] = &[
        Check {
            name: "a/passes",
            versions: BOTH,
            statements: &[],
            looks_for: "",
            run: |()| passed(),
        },
        Check {
            name: "a/panics",
            versions: V5,
            statements: &[],
            looks_for: "",
            run: |()| panic!("too {}", "bad"),
        },
        Check {
            name: "a/fails",
            versions: V5,
            statements: &[],
            looks_for: "",
            run: |()| failed("why"),
        },
        Check {
            name: "a/skips",
            versions: V5,
            statements: &[],
            looks_for: "",
            run: |()| skipped("why"),
        },
    ];

    #[test]
    fn findings_come_in_the_order_of_the_cases_and_a_panic_is_one() {
        let heard = AtomicUsize::new(0);
        let findings = run(
            &cases(&[TABLE], BOTH),
            3,
            |case, _| (guarded(|| (case.check.run)(&mut ())), Exchange::default()),
            |_| {
                heard.fetch_add(1, Ordering::Relaxed);
            },
        );
        assert_eq!(heard.into_inner(), 5);
        let found: Vec<(&str, &Outcome)> =
            findings.iter().map(|found| (found.name.as_str(), &found.outcome)).collect();
        let reason = |text: &str| text.to_owned();
        assert_eq!(
            found,
            [
                ("v311/a/passes", &Outcome::Passed { seen: None }),
                ("v5/a/passes", &Outcome::Passed { seen: None }),
                (
                    "v5/a/panics",
                    &Outcome::Failed { reason: reason("the check itself panicked: too bad") }
                ),
                ("v5/a/fails", &Outcome::Failed { reason: reason("why") }),
                ("v5/a/skips", &Outcome::Skipped { reason: reason("why") }),
            ]
        );
    }
}
