//! Enhanced authentication: the user's side of the exchange of AUTH packets.

use bytes::Bytes;
use dunlin_protocol::codec::Text;

/// A challenge-response method of MQTT 5.0's enhanced authentication. Spec: §4.12.
///
/// It is asked on every connect and reconnect, and for [`crate::Client::reauthenticate`]. Its
/// calls run on the driver and must not block.
pub trait Authenticator: Send + 'static {
    /// The name of the method, e.g. `SCRAM-SHA-256`.
    fn method(&self) -> Text;

    /// Begins an exchange: the data of the CONNECT, or of the AUTH that re-authenticates.
    fn begin(&mut self) -> Option<Bytes>;

    /// Answers a challenge of the Server.
    ///
    /// # Errors
    /// The reason to give up; the connection ends.
    fn respond(&mut self, challenge: Option<&Bytes>) -> Result<Option<Bytes>, Text>;

    /// The Server is satisfied; its last data allows to check that it is the right one.
    ///
    /// # Errors
    /// The reason not to trust the Server; the connection ends.
    fn finish(&mut self, data: Option<&Bytes>) -> Result<(), Text> {
        let _ = data;
        Ok(())
    }
}
