//! The archive and its parts: institutions, accounts, tokens, policies, keys and writers.

use crate::world::*;
use strongroom_record::*;
use strongroom_registry::{Error, *};

pub(crate) async fn the_archive_and_its_parts_read_back(a: &Registry, b: &Registry) {
    assert!(matches!(a.next_revision().await, Err(Error::NotFound { .. })));
    assert_eq!(a.archive().await.unwrap(), None);
    let world = world(a).await;
    assert!(!b.create_archive(fresh(), fresh(), &[], NOW).await.unwrap());
    assert_eq!(b.archive().await.unwrap().unwrap().epoch_number, 1);

    let local = b.institution_by_name("local").await.unwrap().unwrap();
    assert_eq!(b.institution(world.institution).await.unwrap(), Some(local.clone()));
    let twin = Institution { id: fresh(), ..local.clone() };
    assert!(!b.create_institution(&twin, vec![], NOW).await.unwrap());
    assert_eq!(b.institutions().await.unwrap(), [local]);

    let account = Account {
        id: [5; 16],
        institution: world.institution,
        name: "ada".into(),
        role: "administrator".into(),
        state: "active".into(),
        created: NOW,
    };
    assert!(a.create_account(&account).await.unwrap());
    assert!(!a.create_account(&Account { id: [6; 16], ..account.clone() }).await.unwrap());
    assert_eq!(b.accounts(world.institution).await.unwrap(), [account]);

    let shelves = b.shelves().await.unwrap();
    assert_eq!(shelves.iter().map(|s| s.id).collect::<Vec<_>>(), world.shelves);
    assert!(matches!(a.add_shelf(&shelves[0]).await, Err(Error::Conflict { .. })));

    a.set_setting("x", "1").await.unwrap();
    b.set_setting("x", "2").await.unwrap();
    assert_eq!(a.setting("x").await.unwrap().as_deref(), Some("2"));
    assert_eq!(a.setting("y").await.unwrap(), None);

    let name = ObjectName::new("local", "letters").unwrap();
    let object = b.ensure_object(&name, fresh(), NOW).await.unwrap();
    assert_eq!((object.id, &object.name), (world.object, &name));
    assert_eq!(a.object_by_name(&name).await.unwrap(), Some(object));
    let elsewhere = ObjectName::new("nobody", "letters").unwrap();
    let refused = a.ensure_object(&elsewhere, fresh(), NOW).await;
    assert!(matches!(refused, Err(Error::NotFound { what: "institution", .. })));
}

pub(crate) async fn a_token_is_known_by_its_hash_while_it_counts(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let account = Account {
        id: [5; 16],
        institution: world.institution,
        name: "ada".into(),
        role: Role::Administrator.word().into(),
        state: AccountState::Active.word().into(),
        created: NOW,
    };
    let token = |n: u8, once: bool, seconds: Option<i64>| Token {
        id: [n; 16],
        account: account.id,
        name: format!("token {n}"),
        sha256: Sha256::of(&[n]),
        scopes: "read restore".into(),
        once,
        created: NOW.plus_seconds(n.into()),
        expires: seconds.map(later),
        last_used: None,
        revoked: None,
    };
    let nobody = a.create_token(&token(1, false, None)).await;
    assert!(matches!(nobody, Err(Error::NotFound { what: "account", .. })), "{nobody:?}");
    assert!(a.create_account(&account).await.unwrap());
    assert!(!b.has_administrator(world.institution, NOW).await.unwrap());

    // A one-time token is no lasting one, and is exchanged once, by one of two who try.
    a.create_token(&token(1, true, Some(60))).await.unwrap();
    assert!(!b.has_administrator(world.institution, NOW).await.unwrap());
    let (lasting, other) = (token(2, false, Some(60)), token(3, false, None));
    assert!(!a.exchange_token([1; 16], &lasting, later(60)).await.unwrap(), "it has expired");
    let (first, second) = tokio::join!(
        a.exchange_token([1; 16], &lasting, NOW),
        b.exchange_token([1; 16], &other, NOW)
    );
    assert!(first.unwrap() != second.unwrap());
    assert!(!b.exchange_token([1; 16], &token(4, false, None), NOW).await.unwrap());
    let mut kept = b.tokens(account.id).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert!(!kept[0].counts(NOW) && kept[1].counts(NOW));
    assert!(b.has_administrator(world.institution, NOW).await.unwrap());

    let token = kept.pop().unwrap();
    let bearer = b.bearer(&token.sha256).await.unwrap().unwrap();
    assert_eq!((&bearer.token, &bearer.account), (&token, &account));
    assert_eq!(bearer.institution_name, "local");
    assert_eq!(b.bearer(&Sha256::of(b"guessed")).await.unwrap(), None);

    // Of uses within an hour the first is noted.
    for (seconds, noted) in [(1, 1), (3_599, 1), (3_601, 3_601)] {
        a.touch_token(token.id, later(seconds)).await.unwrap();
        let token = b.token(token.id).await.unwrap().unwrap();
        assert_eq!(token.last_used, Some(later(noted)), "{seconds}");
    }

    let disabled = b.set_account_state(account.id, AccountState::Disabled).await.unwrap();
    assert_eq!(a.account(account.id).await.unwrap(), Some(disabled.clone()));
    assert_eq!(a.account_by_name(world.institution, "ada").await.unwrap(), Some(disabled));
    assert!(!a.has_administrator(world.institution, NOW).await.unwrap());
    b.set_account_state(account.id, AccountState::Active).await.unwrap();
    assert!(a.revoke_token(token.id, NOW).await.unwrap());
    assert!(!b.revoke_token(token.id, NOW).await.unwrap());
    assert!(!b.bearer(&token.sha256).await.unwrap().unwrap().token.counts(NOW));
    assert!(!a.has_administrator(world.institution, NOW).await.unwrap());
}

pub(crate) async fn the_nearest_policy_applies_and_is_told(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let (o, i) = (Some(world.object), world.institution);
    let coding = |text: &str| text.parse::<Coding>().unwrap();
    let event = || EventDraft::new(EventKind::Policy);
    assert_eq!(b.coding_for(o, i).await.unwrap(), Coding::TWO_COPIES);
    for (scope, policy) in [
        (Scope::Archive, "copies=3"),
        (Scope::Institution(i), "4+2"),
        (Scope::Object(world.object), "10+4"),
    ] {
        let told = a.set_policy(scope, coding(policy), event(), NOW).await.unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(b.coding_for(o, i).await.unwrap(), coding(policy));
    }
    assert_eq!(b.coding_for(None, i).await.unwrap(), coding("4+2"));
    let nobody = a.set_policy(Scope::Object(fresh()), coding("4+2"), event(), NOW).await;
    assert!(matches!(nobody, Err(Error::NotFound { .. })));
    assert_eq!(b.event_head(i).await.unwrap().sequence, 3);
}

pub(crate) async fn keys_follow_one_another_and_never_without_a_keyring(
    a: &Registry,
    b: &Registry,
) {
    let world = world(a).await;
    let of = world.institution;
    let work = NewWork {
        kind: WorkKind::Keys,
        object: None,
        stage: Stage::Run,
        ..world.ingest(world.object, "keys")
    };
    let item = a.enqueue(work, NOW).await.unwrap().item;
    let lease = take(a, Some(item.id), NOW).await.unwrap().1;
    let number = a.next_coding_number().await.unwrap();
    let keyring = NewSegment {
        version: None,
        object: None,
        ..world.segment(fresh(), SegmentKind::Keyring, number)
    };
    let begin = Batch { begin_segments: vec![keyring.clone()], ..Batch::default() };
    a.commit(&lease, NOW, SECONDS, begin).await.unwrap();
    let next = |generation, keyring: Option<SegmentId>| KeyGeneration {
        institution: of,
        generation,
        keys: vec![generation as u8; 9],
        keyring,
        created: NOW,
    };
    let batch = |next: &KeyGeneration| Batch {
        keys: vec![next.clone()],
        events: vec![EventDraft::new(EventKind::KeyRotation)],
        ..Batch::default()
    };
    // Not while its keyring is being written, not without one, not by two at once.
    let before = picture(a, &world).await;
    for refused in [next(2, Some(keyring.id)), next(2, None), next(3, None), next(0, None)] {
        let refused = a.commit(&lease, NOW, SECONDS, batch(&refused)).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(picture(b, &world).await, before);
    assert_eq!(b.key_generations(of).await.unwrap(), []);
    let durable = Batch { durable: vec![world.durable(&keyring, 100)], ..Batch::default() };
    a.commit(&lease, NOW, SECONDS, durable).await.unwrap();
    for refused in [next(1, Some(keyring.id)), next(3, Some(keyring.id))] {
        let refused = a.commit(&lease, NOW, SECONDS, batch(&refused)).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    }

    let (second, recovery) = (next(2, Some(keyring.id)), next(0, Some(keyring.id)));
    a.commit(&lease, NOW, SECONDS, batch(&second)).await.unwrap();
    a.commit(&lease, NOW, SECONDS, batch(&recovery)).await.unwrap();
    let first = KeyGeneration { keys: vec![1, 2, 3], ..next(1, None) };
    assert_eq!(b.key_generations(of).await.unwrap(), [recovery, first, second.clone()]);
    let institution = b.institution(of).await.unwrap().unwrap();
    assert_eq!((institution.generation, institution.keys), (2, second.keys.clone()));
    let again = a.commit(&lease, NOW, SECONDS, batch(&second)).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "it is the present one already");
    assert_eq!(b.event_head(of).await.unwrap().sequence, 2);
}

pub(crate) async fn writers_are_certified_and_revoked_once(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let certificate = WriterCertificate {
        institution: world.institution,
        serial: [1; 16],
        writer: [2; 32],
        certificate: b"signed".to_vec(),
        from: NOW,
        until: later(60),
        created: NOW,
    };
    let told = EventDraft::new(EventKind::Certification);
    assert_eq!(a.add_certificate(&certificate, told.clone()).await.unwrap().len(), 1);
    assert_eq!(b.add_certificate(&certificate, told.clone()).await.unwrap().len(), 0);
    let other = WriterCertificate { serial: [3; 16], created: later(1), ..certificate.clone() };
    a.add_certificate(&other, told.clone()).await.unwrap();
    assert_eq!(b.certificates(world.institution).await.unwrap(), [certificate.clone(), other]);
    // Journals carry both, however small their pages are.
    let table = TABLES.iter().find(|table| table.name == "certificates").unwrap();
    let of = RowsOf { institution: world.institution, whole: true, first_event: 1, last_event: 0 };
    let (mut after, mut told_of) = (Vec::new(), 0);
    while let Some((cursor, _)) = a.journal_rows(table, of, &after, 1).await.unwrap().pop() {
        (after, told_of) = (cursor, told_of + 1);
    }
    assert_eq!(told_of, 2);
    let nobody = WriterCertificate { institution: fresh(), serial: [4; 16], ..certificate };
    assert!(a.add_certificate(&nobody, told).await.is_err());

    // Revoked once and for all, also what was never listed here.
    for (serial, last_journal) in [([1; 16], (1, 7)), ([9; 16], (2, 0))] {
        let institution = world.institution;
        let revocation = Revocation { institution, serial, last_journal, time: NOW };
        let told = EventDraft::new(EventKind::Revocation);
        assert_eq!(b.revoke(&revocation, told.clone()).await.unwrap().len(), 1);
        let later = Revocation { last_journal: (9, 9), ..revocation.clone() };
        assert!(matches!(a.revoke(&later, told).await, Err(Error::Conflict { .. })));
        assert!(a.revocations(institution).await.unwrap().contains(&revocation));
    }
    assert_eq!(b.event_head(world.institution).await.unwrap().sequence, 4);
}

async fn analyst(registry: &Registry) -> [u8; 16] {
    let account = Account {
        id: [7; 16],
        institution: world(registry).await.institution,
        name: "ann".into(),
        role: Role::Observer.word().into(),
        state: AccountState::Active.word().into(),
        created: NOW,
    };
    assert!(registry.create_account(&account).await.unwrap());
    account.id
}

pub(crate) async fn of_two_who_write_rules_one_is_told_to_look_again(a: &Registry, b: &Registry) {
    let account = analyst(a).await;
    assert_eq!(a.text_rules(account, None).await.unwrap(), Some(TextRules::default()));
    assert_eq!(a.text_rules(account, Some(0)).await.unwrap(), None);
    assert_eq!(a.set_text_rules(account, 1, "late").await.unwrap(), None, "there is none yet");
    a.set_text_quota(account, TextQuota { texts_per_day: Some(3), bytes_per_day: None })
        .await
        .unwrap();

    let (one, other) =
        tokio::join!(a.set_text_rules(account, 0, "one"), b.set_text_rules(account, 0, "other"));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.is_some() != other.is_some(), "{one:?} {other:?}");
    let book = Some(if one.is_some() { "one" } else { "other" }.to_owned());
    assert_eq!(
        b.text_rules(account, Some(0)).await.unwrap(),
        Some(TextRules { revision: 1, book })
    );
    assert_eq!(b.set_text_rules(account, 1, "two").await.unwrap(), Some(2));
    assert_eq!(a.text_rules(account, Some(2)).await.unwrap(), None);
    let long = "x".repeat(TEXT_BOOK_BYTES_MAX + 1);
    assert!(matches!(a.set_text_rules(account, 2, &long).await, Err(Error::TooLarge { .. })));
    let quota = b.text_quota(account).await.unwrap();
    assert_eq!(quota.texts_per_day, Some(3), "rules change no quota");
}

pub(crate) async fn what_accounts_use_adds_up(a: &Registry, b: &Registry) {
    let account = analyst(a).await;
    let used = |day, n: u64| (account, TextUsage { day, calls: 1, texts: n, bytes: 10 * n });
    a.add_text_usage(&[used(1, 1), used(2, 2)]).await.unwrap();
    b.add_text_usage(&[used(2, 3)]).await.unwrap();
    let sum = TextUsage { day: 2, calls: 2, texts: 5, bytes: 50 };
    assert_eq!(a.text_usage(account, 2).await.unwrap(), [sum]);
    assert_eq!(a.text_usage(account, 0).await.unwrap(), [used(1, 1).1, sum]);
    a.add_text_usage(&[used(TEXT_USAGE_DAYS + 1, 1)]).await.unwrap();
    let kept = b.text_usage(account, 0).await.unwrap();
    assert_eq!(kept.iter().map(|u| u.day).collect::<Vec<_>>(), [2, TEXT_USAGE_DAYS + 1]);
    let nobody = a.add_text_usage(&[([9; 16], TextUsage::default())]).await;
    assert!(nobody.is_err(), "an account that is not there");
}
