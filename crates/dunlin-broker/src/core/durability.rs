//! How safe something is before anybody may rely on it.

/// What an acknowledgement means: how safe that which it is for has become. Each includes those
/// before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// It was routed: every session that it is owed to has it in memory. A crash of the process
    /// may lose it.
    Memory,
    /// It was handed to the operating system: a crash of the process loses nothing, a power cut
    /// may.
    Written,
    /// It is on the disk: a power cut loses nothing.
    #[default]
    Fsync,
}

impl Durability {
    /// Every level, the weakest first.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Written, Self::Fsync];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Written => "written",
            Self::Fsync => "fsync",
        }
    }
}
