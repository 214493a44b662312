//! Our client with a Session Store, killed at random moments and started again, with our broker:
//! what it has promised arrives, and nothing of QoS 2 arrives twice.
//!
//! The client runs in a process of its own: `dunlin pub`, or this test program once more, see
//! `child`.

mod command;
mod life;
mod publishing;
mod receiving;

use std::env;
use std::path::Path;

/// No test by itself: the program that the others start and kill. Without their word it is done
/// at once.
#[test]
fn child() {
    let (Ok(part), Ok(url), Ok(folder)) =
        (env::var(life::PART), env::var(life::URL), env::var(life::FOLDER))
    else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let folder = Path::new(&folder);
    runtime.expect("a runtime").block_on(async {
        match part.as_str() {
            publishing::PART => publishing::child(&url, folder).await,
            receiving::PART => receiving::child(&url, folder).await,
            part => panic!("no such part: {part}"),
        }
    });
}
