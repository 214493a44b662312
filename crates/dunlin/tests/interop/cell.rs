//! A cell of the matrix: the version and the Quality of Service that a test speaks.

/// A version of the protocol, as peers name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V3_1,
    V3_1_1,
    V5,
}

/// What a scenario is run with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) version: Version,
    pub(crate) qos: u8,
}

/// Makes one test of each named scenario, for one version and Quality of Service. The module that
/// it is used in says the rest of the name.
macro_rules! cells {
    ($scenarios:path, $version:ident, $qos:literal: $($feature:ident)*) => { $(
        #[test]
        fn $feature() {
            use $scenarios as scenarios;
            let cell =
                $crate::cell::Cell { version: $crate::cell::Version::$version, qos: $qos };
            let peer = module_path!();
            $crate::known_differences::play(peer, stringify!($feature), cell, || {
                scenarios::$feature(cell);
            });
        }
    )* };
}
