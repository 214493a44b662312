//! The handshake with tungstenite at the other end.

use bytes::BytesMut;
use dunlin_transport::websocket::upgrade::{
    ClientUpgrade, Policy, Request, ServerUpgrade, SubProtocol,
};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::server;
use tungstenite::http::HeaderValue;

use crate::pipe::Pipe;

#[test]
fn a_client_of_tungstenite_is_let_in() {
    let mut request = "ws://broker.test/mqtt".into_client_request().expect("a request");
    let offer = HeaderValue::from_static("mqtt");
    request.headers_mut().insert("Sec-WebSocket-Protocol", offer);
    let Err(HandshakeError::Interrupted(mut waiting)) =
        tungstenite::client(request, Pipe::default())
    else {
        panic!("it waits for the answer");
    };
    let pipe = waiting.get_mut().get_mut();
    let mut input = BytesMut::from(&pipe.outgoing[..]);
    let mut output = BytesMut::new();
    let granted = ServerUpgrade::new().handle_input(&mut input, &Policy::default(), &mut output);
    assert_eq!(granted, Ok(Some(SubProtocol::Mqtt)));
    assert!(input.is_empty());
    pipe.incoming.extend(&output);
    let (_, response) = waiting.handshake().expect("an upgrade");
    assert_eq!(
        response.headers().get("Sec-WebSocket-Protocol"),
        Some(&HeaderValue::from_static("mqtt"))
    );
}

#[test]
fn a_server_of_tungstenite_lets_in() {
    let mut wire = BytesMut::new();
    let request = Request { host: "broker.test", path: "/mqtt", headers: &[("X-Y", "z")] };
    let mut upgrade = ClientUpgrade::new(&request, [7; 16], &mut wire).expect("valid");
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let choose = |request: &server::Request, mut response: server::Response| {
        assert_eq!(request.uri().path(), "/mqtt");
        let offer = request.headers().get("Sec-WebSocket-Protocol").expect("an offer").clone();
        response.headers_mut().insert("Sec-WebSocket-Protocol", offer);
        Ok(response)
    };
    let socket = tungstenite::accept_hdr(Pipe::with(&wire), choose).expect("an upgrade");
    let mut answer = BytesMut::from(&socket.get_ref().outgoing[..]);
    assert_eq!(upgrade.handle_input(&mut answer), Ok(true));
    assert!(answer.is_empty());
}
