//! What a hostile peer, or somebody on the path, sends.

use proptest::prelude::*;

use super::*;

#[test]
fn a_record_that_was_changed_dropped_repeated_or_moved_ends_the_connection() {
    let records = |client: &mut Session| -> Vec<Vec<u8>> {
        (0..4u8).map(|i| sealed(&mut client.sealer, &[i; 50])).collect()
    };
    type Harm = fn(&mut Vec<Vec<u8>>);
    let harms: [Harm; 5] = [
        |r| r[1][30] ^= 1,
        |r| r[1][4] -= 1,
        |r| drop(r.remove(1)),
        |r| r.insert(1, r[0].clone()),
        |r| r.swap(1, 2),
    ];
    for harm in harms {
        let (mut client, mut server) = connected();
        let mut records = records(&mut client);
        harm(&mut records);
        let mut out = [0; 100];
        assert_eq!(server.opener.open(&records[0], &mut out).unwrap(), Opened::Data(50));
        let harmed = server.opener.open(&records[1], &mut out);
        assert!(matches!(harmed, Err(Error::Broken { .. })), "{harmed:?}");
        assert!(matches!(server.opener.open(&records[1], &mut out), Err(Error::Over)));
    }
}

#[test]
fn records_without_data_are_taken_only_so_often() {
    let (mut client, mut server) = connected();
    let mut out = [0; 100];
    // A little is nothing: data come between.
    for _ in 0..3 {
        for _ in 0..32 {
            let empty = sealed(&mut client.sealer, b"");
            assert_eq!(server.opener.open(&empty, &mut out).unwrap(), Opened::Nothing);
        }
        assert_eq!(opened(&mut server.opener, &sealed(&mut client.sealer, b"x")).unwrap(), b"x");
    }
    for _ in 0..32 {
        opened(&mut server.opener, &sealed(&mut client.sealer, b"")).unwrap();
    }
    let much = opened(&mut server.opener, &sealed(&mut client.sealer, b""));
    assert!(matches!(much, Err(Error::Broken { alert: 10, .. })), "{much:?}");
}

#[test]
fn a_record_that_no_honest_peer_sends_is_refused_by_its_header() {
    for (header, alert) in
        [([20, 3, 3, 0, 1], 10), ([22, 3, 3, 0, 40], 10), ([23, 3, 3, 0x41, 1], 22)]
    {
        let refused = record_length(&header);
        assert!(
            matches!(refused, Err(Error::Broken { alert: told, .. }) if told == alert),
            "{header:?}"
        );
    }
    assert_eq!(record_length(&[23, 0, 0, 0x41, 0]).unwrap(), Some(16_645));
    assert_eq!(record_length(&[23, 3, 3, 0]).unwrap(), None);
    let (_, mut server) = connected();
    let short = server.opener.open(&[23, 3, 3, 0, 3, 1, 2, 3], &mut [0; 10]);
    assert!(matches!(short, Err(Error::Broken { alert: 20, .. })), "{short:?}");
}

#[test]
fn a_peer_that_never_comes_to_the_end_is_given_up() {
    // A record of a handshake that announces more than ever comes.
    let mut flood = vec![22, 3, 1, 0x40, 0];
    flood.extend([1, 0xff, 0xff, 0xff]);
    flood.resize(5 + 0x4000, 0);
    let mut server = dialled(&key(2), |_| true);
    let mut ended = None;
    for _ in 0..100 {
        let mut there = flood.clone();
        if let Err(error) = server.step(&mut there) {
            ended = Some(error);
            break;
        }
    }
    assert!(ended.is_some());
    assert!(matches!(server.step(&mut flood), Err(Error::Over)));
}

proptest! {
    #[test]
    fn nothing_from_outside_panics_a_handshake(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        cut in 0usize..2000,
        change in any::<u8>(),
    ) {
        let mut server = dialled(&key(2), |_| true);
        let mut there = bytes;
        let _ = server.step(&mut there);
        // What a client really says, changed at one place.
        let mut client = dialling(&key(1), key(2).id());
        client.step(&mut Vec::new()).unwrap();
        let mut hello = client.outgoing();
        let at = cut % hello.len();
        hello[at] ^= change;
        let mut server = dialled(&key(2), |_| true);
        let _ = server.step(&mut hello);
        let _ = server.outgoing();
    }
}
