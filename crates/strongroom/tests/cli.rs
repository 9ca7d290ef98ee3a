//! The program as a user has it: the real binary, run in folders of its own.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A user: a folder with an archive in it.
struct User {
    place: tempfile::TempDir,
}

impl User {
    fn new() -> User {
        User { place: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn run(&self, args: &[&dyn AsRef<OsStr>]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .env_remove("STRONGROOM_DATA")
            .env_remove("STRONGROOM_LOG")
            .env_remove("STRONGROOM_SERVER")
            .env_remove("STRONGROOM_TOKEN")
            .env("STRONGROOM_TOKEN_FILE", self.path("token"))
            .env("HOME", self.path("home"))
            .env("XDG_DATA_HOME", self.path("xdg"))
            .env("TMPDIR", self.place.path())
            .current_dir(self.place.path())
            .args(args.iter().map(|arg| (*arg).as_ref()))
            .output()
            .unwrap()
    }

    /// Runs it, expects this exit code, and reads its JSON.
    fn json(&self, args: &[&dyn AsRef<OsStr>], exit: i32) -> Value {
        let args: Vec<_> = args.iter().copied().chain([&"--json" as &dyn AsRef<OsStr>]).collect();
        let output = self.run(&args);
        expect(&output, exit);
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn expect(output: &Output, exit: i32) {
    let err = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(exit), "stdout: {out}\nstderr: {err}");
}

/// Everything in a folder: kind, mode, bytes or target.
fn tree(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let what = if meta.is_symlink() {
                format!("link to {}", path.read_link().unwrap().display())
            } else if meta.is_dir() {
                open.push(path.clone());
                "folder".into()
            } else {
                let bytes = std::fs::read(&path).unwrap();
                format!("{:o} {bytes:?}", meta.permissions().mode() & 0o7777)
            };
            all.insert(name, what);
        }
    }
    all
}

fn letters(root: &Path) {
    std::fs::create_dir_all(root.join("1914/empty")).unwrap();
    std::fs::write(root.join("1914/june.txt"), "Dear archive\n").unwrap();
    std::fs::write(root.join("big.bin"), vec![7; 300_000]).unwrap();
    std::fs::write(root.join("nothing"), "").unwrap();
    std::fs::write(root.join(OsStr::from_bytes(b"caf\xe9.txt")), "Latin-1 in its name").unwrap();
    symlink("1914/june.txt", root.join("latest")).unwrap();
    let script = root.join("run.sh");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_list_of_commands_stands() {
    let output = User::new().run(&[&"--help"]);
    expect(&output, 0);
    let help = String::from_utf8(output.stdout).unwrap();
    let commands: Vec<_> = (help.lines())
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let expected = "demo deposit work object restore cat delete fixity repair status shelf rebuild \
                    policy key serve account token bag doctor config text wire bench completions man help";
    assert_eq!(commands.join(" "), expected);
    assert!(help.contains("Exit codes: 0 done; 1 the answer is no"), "{help}");
}

#[test]
fn exit_codes_and_errors_are_as_documented() {
    let user = User::new();
    std::fs::create_dir(user.path("empty")).unwrap();
    let check = |args: &[&str], exit: i32, code: &str| {
        let args: Vec<&dyn AsRef<OsStr>> = args.iter().map(|a| a as &dyn AsRef<OsStr>).collect();
        let output = user.run(&[&args[..], &[&"--json" as &dyn AsRef<OsStr>]].concat());
        expect(&output, exit);
        if !code.is_empty() {
            let stderr = String::from_utf8(output.stderr).unwrap();
            let last: Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
            assert_eq!(last["error"]["code"], code, "{args:?}", args = stderr);
            assert_eq!(last["error"]["exit"], exit);
        }
    };
    check(&["no-such-command"], 2, "");
    check(&["deposit"], 2, "");
    check(&["deposit", "absent"], 3, "system");
    check(&["deposit", "empty", "empty", "--object", "one"], 2, "usage");
    check(&["deposit", "empty", "--object", "a/b/c"], 2, "usage");
    check(&["object", "list"], 1, "not-found");
    check(&["bag", "validate", "absent"], 3, "bag");
    check(&["bag", "validate", "empty"], 1, "");
    check(&["bag", "validate", "empty", "--profile", "no-such-profile"], 2, "usage");
    check(&["config", "check"], 0, "");
    assert!(!user.path("xdg").exists(), "commands that only look made an archive");
}

#[test]
fn settings_say_where_they_come_from() {
    let user = User::new();
    let shown = user.json(&[&"config", &"show"], 0);
    assert_eq!(shown[0]["value"], user.path("xdg/strongroom").to_str().unwrap());
    assert_eq!(shown[0]["source"], "default");
    let shown = user.json(&[&"config", &"show", &"--data", &"here"], 0);
    assert_eq!(shown[0]["value"], user.path("here").to_str().unwrap());
    assert_eq!(shown[0]["source"], "flag");
}

#[test]
fn completions_manual_and_limits_are_printed() {
    let user = User::new();
    let output = user.run(&[&"completions", &"bash"]);
    expect(&output, 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("_strongroom"));
    let output = user.run(&[&"man"]);
    expect(&output, 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains(".TH strongroom"));
    expect(&user.run(&[&"man", &"--to", &"pages"]), 0);
    assert!(user.path("pages/strongroom-deposit.1").is_file());
    let limits = user.json(&[&"bench", &"limits", &"--each-ms", &"1"], 0);
    let names: Vec<_> = limits.as_array().unwrap().iter().map(|l| l["name"].as_str()).collect();
    assert!(names.contains(&Some("md5")) && names.contains(&Some("coding 10+4")), "{names:?}");
}

#[test]
fn bags_are_made_and_validated_without_an_archive() {
    let user = User::new();
    let folder = user.path("letters");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.txt"), "a letter").unwrap();
    let tar = user.path("letters.tar");
    user.json(&[&"bag", &"create", &folder, &"--tar", &tar, &"--algorithm", &"md5,sha256"], 0);
    let made = user.json(&[&"bag", &"create", &folder], 0);
    assert_eq!(made["files"], 1);
    let verdicts = user.json(&[&"bag", &"validate", &folder, &tar], 0);
    assert_eq!(verdicts[0]["verdict"], "valid");
    assert_eq!(verdicts[1]["algorithms"], serde_json::json!(["md5", "sha256"]));
    expect(&user.run(&[&"bag", &"create", &folder]), 2);

    std::fs::write(folder.join("data/a.txt"), "A letter").unwrap();
    std::fs::write(folder.join("data/b.txt"), "one more").unwrap();
    let verdicts = user.json(&[&"bag", &"validate", &folder, &"--all-errors"], 1);
    let problems = verdicts[0]["problems"].as_array().unwrap();
    let paths: Vec<_> = problems.iter().filter_map(|p| p["path"].as_str()).collect();
    assert!(paths.contains(&"data/a.txt") && paths.contains(&"data/b.txt"), "{problems:?}");
    assert!(!user.path("xdg").exists());
}

#[test]
fn a_tree_goes_in_and_comes_back_as_it_was() {
    let user = User::new();
    let source = user.path("letters");
    letters(&source);
    let output = user.run(&[&"deposit", &source]);
    expect(&output, 0);
    let talk = String::from_utf8(output.stderr).unwrap();
    let key = user.path("xdg/strongroom/strongroom.key");
    assert!(
        talk.contains(key.to_str().unwrap()) && talk.contains("Keep a copy elsewhere"),
        "{talk}"
    );
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let listed = user.json(&[&"object", &"list"], 0);
    assert_eq!(listed[0]["name"], "local/letters");
    assert_eq!(listed[0]["versions"], 1);

    let again = user.json(&[&"deposit", &source], 0);
    assert_eq!(again[0]["report"]["outcome"], "unchanged");
    std::fs::write(source.join("1914/july.txt"), "Another\n").unwrap();
    let changed = user.json(&[&"deposit", &source], 0);
    assert_eq!(changed[0]["report"]["version"], 2);
    assert_eq!(user.json(&[&"object", &"list"], 0)[0]["versions"], 2);

    for form in ["files", "bag"] {
        let to = user.path(form);
        let args: [&dyn AsRef<OsStr>; 6] = [&"restore", &"letters", &"--as", &form, &"--to", &to];
        user.json(&args, 0);
    }
    assert_eq!(tree(&user.path("files")), tree(&source));
    let verdict = user.json(&[&"bag", &"validate", &user.path("bag")], 0);
    assert_eq!(verdict[0]["verdict"], "valid");
    expect(
        &user.run(&[&"restore", &"letters", &"--to", &user.path("bag/x/y"), &"--as", &"tar"]),
        2,
    );

    let output = user.run(&[&"cat", &"letters@1", &"1914/june.txt"]);
    expect(&output, 0);
    assert_eq!(output.stdout, b"Dear archive\n");
    expect(&user.run(&[&"cat", &"letters@1", &"1914/july.txt"]), 1);

    let shown = user.json(&[&"object", &"show", &"letters"], 0);
    assert_eq!(shown["versions"].as_array().unwrap().len(), 2);
    for segment in shown["segments"].as_array().unwrap() {
        assert_eq!(segment["shards"].as_array().unwrap().len(), 2, "{segment}");
    }
    let chain = user.json(&[&"object", &"events", &"letters", &"--verify"], 0);
    assert_eq!(chain["holds"], true);
    assert_eq!(user.json(&[&"fixity"], 0)["damaged"], 0);
    assert_eq!(user.json(&[&"policy", &"show"], 0)["policy"], "copies=2");
    assert_eq!(user.json(&[&"status"], 0)["shelves_on_one_disk"], true);
    expect(&user.run(&[&"doctor"]), 0);

    // A name that stands for another source is not guessed at.
    let other = user.path("other/letters");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("x"), "x").unwrap();
    let output = user.run(&[&"deposit", &other]);
    expect(&output, 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--object"));
}

#[test]
fn detached_work_waits_until_it_is_run() {
    let user = User::new();
    std::fs::write(user.path("note.txt"), "a note").unwrap();
    let queued = user.json(&[&"deposit", &"note.txt", &"--detach"], 0);
    assert_eq!(queued[0]["status"], "queued");
    let id = queued[0]["work"].as_str().unwrap()[..8].to_string();
    assert_eq!(user.json(&[&"work", &"show", &id], 0)["kind"], "ingest");
    let ran = user.json(&[&"work", &"run"], 0);
    assert_eq!(ran[0]["status"], "succeeded");
    let listed = user.json(&[&"work", &"list", &"--status", &"succeeded", &"--kind", &"ingest"], 0);
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[test]
fn messages_go_from_node_to_node() {
    use std::io::{BufRead as _, Read as _};
    let user = User::new();
    let mut listener = Command::new(env!("CARGO_BIN_EXE_strongroom"))
        .args(["--json", "wire", "listen", "--count", "5", "--key"])
        .arg(user.path("node.key"))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(listener.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    let to = said.split(' ').find(|word| word.contains('@')).unwrap();
    std::fs::write(user.path("one"), "a letter").unwrap();
    std::fs::write(user.path("large"), vec![7; 3 << 20]).unwrap();
    let send = |files: &[PathBuf]| {
        let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"wire", &"send", &to, &"--timeout", &"60"];
        args.extend(files.iter().map(|file| file as &dyn AsRef<OsStr>));
        user.json(&args, 0)
    };
    let sent = send(&[user.path("one"), user.path("large")]);
    let generated =
        user.json(&[&"wire", &"send", &to, &"--generate", &"2", &"--size", &"1KiB-2MiB"], 0);
    let pings = user.json(&[&"wire", &"ping", &to, &"--count", &"3", &"--pause", &"1"], 0);
    assert!(pings.as_array().unwrap().iter().all(|ping| ping["microseconds"].as_u64() > Some(0)));
    let peers = user.json(&[&"wire", &"peers", &to], 0);
    assert_eq!(peers.as_array().unwrap().len(), 4, "each command was a node of its own: {peers}");
    let metrics = user.run(&[&"wire", &"peers", &to, &"--metrics"]);
    let metrics = String::from_utf8(metrics.stdout).unwrap();
    let counted = metrics.lines().filter(|l| l.starts_with("strongroom_wire_held_bytes{peer="));
    assert_eq!(counted.count(), 5 * 3, "three lanes to each of five nodes: {metrics}");
    // Another joins it, and is a member as soon as both know.
    let mut other = Command::new(env!("CARGO_BIN_EXE_strongroom"))
        .args(["wire", "listen", "--join", to])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let is_member = || {
        let peers = user.json(&[&"wire", &"peers", &to], 0);
        peers.as_array().unwrap().iter().any(|peer| peer["member"] == "alive")
    };
    let begun = std::time::Instant::now();
    while !is_member() {
        assert!(begun.elapsed().as_secs() < 60, "it never joined");
    }
    other.kill().unwrap();
    other.wait().unwrap();
    let again = send(&[user.path("one")]);
    let mut taken = String::new();
    listener.stdout.take().unwrap().read_to_string(&mut taken).unwrap();
    assert_eq!(listener.wait().unwrap().code(), Some(0));
    let taken: Value = serde_json::from_str(&taken).unwrap();
    let digests = |of: &Value| -> Vec<String> {
        let rows = of.as_array().unwrap().iter();
        let mut all: Vec<_> = rows.map(|row| row["sha256"].as_str().unwrap().into()).collect();
        all.sort();
        all
    };
    let mut expected = [digests(&sent), digests(&generated), digests(&again)].concat();
    expected.sort();
    assert_eq!(digests(&taken), expected);
    // Nobody listens any more, and a name that is none is refused.
    expect(&user.run(&[&"wire", &"send", &"nobody@127.0.0.1:1", &"one"]), 2);
    let gone = [&"wire" as &dyn AsRef<OsStr>, &"send", &to, &user.path("one"), &"--timeout", &"1"];
    let gone: Value = user.json(&gone, 1);
    assert_eq!(gone[0]["handled"], false);
}

#[test]
fn kept_messages_outlive_both_sides() {
    use std::io::{BufRead as _, Read as _};
    let user = User::new();
    std::fs::write(user.path("one"), "a letter").unwrap();
    let listen = |address: &str| {
        let mut listener = Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .args(["--json", "wire", "listen", "--count", "1", "--address", address, "--key"])
            .arg(user.path("node.key"))
            .arg("--spool")
            .arg(user.path("there"))
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stderr = std::io::BufReader::new(listener.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        let to = said.split(' ').find(|word| word.contains('@')).unwrap().to_owned();
        (listener, to)
    };
    let (mut gone, to) = listen("127.0.0.1:0");
    gone.kill().unwrap();
    gone.wait().unwrap();
    let (key, here) = (user.path("sender.key"), user.path("here"));
    let send = |files: &[PathBuf], code| -> Value {
        let mut args: Vec<&dyn AsRef<OsStr>> =
            vec![&"wire", &"send", &to, &"--key", &key, &"--spool", &here, &"--timeout", &"2"];
        args.extend(files.iter().map(|file| file as &dyn AsRef<OsStr>));
        user.json(&args, code)
    };
    // Nobody is there: it stays.
    assert_eq!(send(&[user.path("one")], 1)[0]["handled"], false);
    let (mut listener, _) = listen(to.split_once('@').unwrap().1);
    assert_eq!(send(&[], 0), serde_json::json!([]), "it goes on with what is kept");
    let mut taken = String::new();
    listener.stdout.take().unwrap().read_to_string(&mut taken).unwrap();
    assert_eq!(listener.wait().unwrap().code(), Some(0));
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert_eq!((&taken[0]["size"], &taken[0]["redelivered"]), (&8.into(), &false.into()));
    expect(&user.run(&[&"wire", &"send", &to, &"--key", &key, &"--spool", &here]), 2);
    // A short form of the campaign; and the bugs that it must find.
    let campaign = |more: &[&dyn AsRef<OsStr>], code| {
        let mut args: Vec<&dyn AsRef<OsStr>> =
            vec![&"wire", &"bench", &"spooled", &"--messages", &"400", &"--kills", &"15"];
        args.extend(more);
        user.json(&args, code)
    };
    let held = campaign(&[], 0);
    assert!(held["kept"].as_u64() > Some(350), "{held}");
    assert!(held["cut_off_in_a_handler"].as_u64() > Some(0), "{held}");
    assert!(campaign(&[&"--plant", &"forgets"], 1)["lost"].as_u64() > Some(0));
    let hides = campaign(&[&"--plant", &"hides"], 1);
    assert!(hides["redelivered_without_a_word"].as_u64() > Some(0), "{hides}");
}

#[test]
fn texts_are_analysed() {
    let user = User::new();
    let text = "Dr. Lee can't come.\nThe service was not good.";
    std::fs::write(user.path("note"), text).unwrap();
    let said = user.json(&[&"text", &"analyze", &user.path("note")], 0);
    assert_eq!(said[0]["language"], "en");
    let sentences = said[0]["sentences"].as_array().unwrap();
    assert_eq!(sentences.len(), 2);
    let token = &sentences[0]["tokens"][2];
    let words: Vec<&str> =
        token["words"].as_array().unwrap().iter().map(|w| w["upos"].as_str().unwrap()).collect();
    assert_eq!(words, ["AUX", "PART"], "can't: {token}");
    let at = |place: &str| token["bytes"][place].as_u64().unwrap() as usize;
    assert_eq!(&text[at("start")..at("end")], "can't");
    assert_eq!(said[0]["sentiment"]["label"], "negative");
    assert_eq!(said[0]["sentiment"]["because"][0]["text"], "not good");
    // What was tagged comes back from its own CoNLL-U.
    let tagged = user.run(&[&"text", &"tag", &"--conllu", &user.path("note")]);
    std::fs::write(user.path("note.conllu"), &tagged.stdout).unwrap();
    let again = user.run(&[
        &"text",
        &"tag",
        &"--conllu",
        &"--gold-tokens",
        &"--language",
        &"en",
        &user.path("note.conllu"),
    ]);
    assert_eq!(String::from_utf8(again.stdout), String::from_utf8(tagged.stdout));
    // Lines keep their order, on all cores; one that is wrong spoils nothing.
    let lines: String = (0..500)
        .map(|n| match n % 5 {
            4 => "no JSON\n".to_owned(),
            _ => format!("{}\n", serde_json::json!({ "id": n, "text": "Das ist sehr gut." })),
        })
        .collect();
    std::fs::write(user.path("lines"), lines).unwrap();
    let batch = user.run(&[&"text", &"batch", &user.path("lines")]);
    let batch = String::from_utf8(batch.stdout).unwrap();
    for (n, line) in batch.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        match n % 5 {
            4 => assert!(line["error"].is_string(), "{line}"),
            _ => assert_eq!((&line["id"], &line["language"]), (&n.into(), &"de".into())),
        }
    }
    assert_eq!(batch.lines().count(), 500);
    // Rules take effect with their commit.
    let rules = user.path("rules.json");
    let negative = |said: Value| said[0]["sentiment"]["label"] == "negative";
    let judged = || user.json(&[&"text", &"sentiment", &"--rules", &rules, &user.path("note")], 0);
    user.json(&[&"text", &"rules", &rules, &"add", &"phrase", &"not good", &"1"], 0);
    assert!(negative(judged()));
    user.json(&[&"text", &"rules", &rules, &"commit"], 0);
    assert!(!negative(judged()));
    assert_eq!(user.json(&[&"text", &"rules", &rules, &"list"], 0)[0]["text"], "not good");
    // What is no text is refused, with where it is none.
    std::fs::write(user.path("bytes"), b"some \xff bytes").unwrap();
    let refused = user.run(&[&"text", &"analyze", &user.path("bytes")]);
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("from byte 5 on"));
    let models = user.json(&[&"text", &"models"], 0);
    assert_eq!(models.as_array().unwrap().len(), 41, "four kinds in ten languages, and one");
}

#[test]
fn what_texts_are_about_is_told() {
    let user = User::new();
    let stay =
        "Ada Lovelace came to London. The breakfast was wonderful, but our rooms were dirty.";
    std::fs::write(user.path("stay"), stay).unwrap();
    let ask = |name: &str, more: &[&dyn AsRef<OsStr>], code: i32| {
        let file = user.path("stay");
        let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"text", &name];
        args.extend(more);
        args.push(&file);
        user.json(&args, code)[0].clone()
    };
    let names = ask("entities", &[], 0)["entities"].clone();
    let told = |entity: &Value| format!("{} {}", entity["kind"], entity["text"]);
    let told: Vec<_> = names.as_array().unwrap().iter().map(told).collect();
    assert!(told.contains(&"\"place\" \"London\"".to_owned()), "{told:?}");
    let chunks = ask("chunks", &[], 0)["chunks"].clone();
    let labels: Vec<_> =
        chunks.as_array().unwrap().iter().map(|chunk| chunk["label"].clone()).collect();
    assert!(labels.ends_with(&["positive".into(), "negative".into()]), "{labels:?}");
    let themes = ask("themes", &[], 0)["themes"].clone();
    assert!(themes.as_array().unwrap().iter().any(|theme| theme["lemma"] == "breakfast"));
    let topics = r#"[{"name":"room","words":[{"kind":"lemma","text":"room"}]}]"#;
    std::fs::write(user.path("topics"), topics).unwrap();
    let room = ask("topics", &[&"--topics", &user.path("topics")], 0)["topics"][0].clone();
    assert_eq!((&room["topic"], &room["label"]), (&"room".into(), &"negative".into()));
    for (rule, code) in [("lemma:room NEAR/2 dirt*", 0), ("room", 1)] {
        let found = ask("filter", &[&"--rule", &rule], code)["matches"][0]["matched"].clone();
        assert_eq!(found, code == 0, "{rule}");
    }
    let refused = user.run(&[&"text", &"filter", &"--rule", &"(room", &user.path("stay")]);
    assert_eq!(refused.status.code(), Some(2));
    let page = "<title>A walk</title><nav><a href=/>Home</a></nav><p>We went up the hill &amp; looked at the \
        sea, which lay there as still as a plate, and then we went home along the river.";
    std::fs::write(user.path("page"), page).unwrap();
    let clean = user.json(&[&"text", &"clean", &user.path("page")], 0)[0].clone();
    assert_eq!(clean["title"], "A walk");
    assert!(clean["text"].as_str().unwrap().starts_with("We went up the hill & looked"));
}

#[test]
fn the_demo_holds() {
    let user = User::new();
    let source = user.path("letters");
    letters(&source);
    let done = user.json(&[&"demo", &source], 0);
    assert_eq!(done["held"], true);
    assert_eq!(done["files"], 5);
    assert!(done["repaired"].as_u64().unwrap() > 0, "{done}");
}

/// The text of a file of this repository.
fn text(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(name)).unwrap()
}

#[test]
fn the_tour_runs_as_written() {
    let user = User::new();
    let readme = text("README.md");
    let tour = readme.split("\n## A tour\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks: Vec<_> = (tour.split("```sh\n").skip(1))
        .map(|block| block.split("```").next().unwrap().to_string())
        .collect();
    assert_eq!(blocks.len(), 9, "{tour}");
    let binary = Path::new(env!("CARGO_BIN_EXE_strongroom")).parent().unwrap();
    let (install, export) = ("cargo install ", "export PATH=/tmp/strongroom/bin:");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let free = free.to_string();
    let mut script = String::from("set -euo pipefail\n");
    for line in blocks.concat().lines() {
        if line.starts_with(install) {
            continue;
        }
        let line = line.replace("/tmp/strongroom/bin", binary.to_str().unwrap());
        let line = line.replace("/tmp/tour", user.path("tour").to_str().unwrap());
        let line = line.replace("127.0.0.1:7171", &free);
        script.push_str(&line);
        script.push('\n');
    }
    assert!(readme.contains(install) && readme.contains(export) && !script.contains("/tmp/tour"));
    let output = Command::new("bash")
        .args(["-c", &script])
        .env_remove("STRONGROOM_DATA")
        .env_remove("XDG_CONFIG_HOME")
        .env("HOME", user.path("home"))
        .current_dir(user.place.path())
        .output()
        .unwrap();
    expect(&output, 0);
    let letter = std::fs::read(user.path("tour/plain/1914-08-02.txt")).unwrap();
    assert_eq!(letter, b"Dear archive, ...\n");
    let again = std::fs::read(user.path("tour/fetched/1914-08-03.txt")).unwrap();
    assert_eq!(again, b"Dear archive, again ...\n");
}

#[test]
fn each_error_code_has_its_page() {
    let page = text("docs/errors.md");
    let documented: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut codes: Vec<_> = strongroom_intake::Code::ALL.iter().map(|code| code.word()).collect();
    // Those of the command line alone.
    codes.extend(["system", "bag", "undecided", "demo", "server"]);
    assert_eq!(documented, codes);
    assert_eq!(page.matches("\n**Cause.** ").count(), codes.len());
    assert_eq!(page.matches("\n**Remedy.** ").count(), codes.len());
}

/// `strongroom serve` of a user's archive, until it is dropped.
struct Server {
    process: std::process::Child,
    url: String,
    one_time_token: String,
}

impl Server {
    fn of(user: &User) -> Server {
        let mut process = Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .env("STRONGROOM_DATA", user.path("archive"))
            .args(["serve", "--listen", "127.0.0.1:0", "--json"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        use serde_json::{Deserializer, de::IoRead};
        let said = Deserializer::new(IoRead::new(process.stdout.as_mut().unwrap()));
        let said: Value = said.into_iter().next().unwrap().unwrap();
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_string();
        Server { url: text("url"), one_time_token: text("one_time_token"), process }
    }

    /// Ends it as a service manager does; how it ended.
    fn end(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_answers_as_the_archive_does() {
    let user = User::new();
    letters(&user.path("letters"));
    let data = user.path("archive");
    let here: [&dyn AsRef<OsStr>; 2] = [&"--data", &data];
    expect(&user.run(&[&here[..], &[&"deposit", &"letters"]].concat()), 0);
    let server = Server::of(&user);
    let there: [&dyn AsRef<OsStr>; 2] = [&"--server", &server.url];
    let at = |place: &[&dyn AsRef<OsStr>; 2], args: &[&str]| {
        let args: Vec<&dyn AsRef<OsStr>> = args.iter().map(|a| a as &dyn AsRef<OsStr>).collect();
        user.run(&[&place[..], &args].concat())
    };
    let code = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.split(['[', ']']).nth(1).unwrap_or_default().to_string()
    };

    // Without a token nothing; the one-time token is exchanged, and the lasting one is kept.
    let refused = at(&there, &["object", "list"]);
    assert_eq!((refused.status.code(), code(&refused)), (Some(3), "unauthorized".into()));
    std::fs::write(user.path("token"), &server.one_time_token).unwrap();
    let refused = at(&there, &["object", "list"]);
    assert_eq!((refused.status.code(), code(&refused)), (Some(1), "forbidden".into()));
    std::fs::remove_file(user.path("token")).unwrap();
    let exchanged = Command::new(env!("CARGO_BIN_EXE_strongroom"))
        .env("STRONGROOM_TOKEN", &server.one_time_token)
        .env("STRONGROOM_TOKEN_FILE", user.path("token"))
        .args(["--server", &server.url, "token", "exchange"])
        .output()
        .unwrap();
    expect(&exchanged, 0);
    let mode = std::fs::metadata(user.path("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // What is sent there is taken in as what is deposited here.
    let sent = at(&there, &["deposit", "letters", "--object", "sent", "--json"]);
    expect(&sent, 0);
    let sent: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(
        (&sent[0]["status"], &sent[0]["report"]["version"]),
        (&"succeeded".into(), &1.into())
    );
    std::fs::write(user.path("note.txt"), "a note").unwrap();
    expect(&at(&there, &["deposit", "note.txt"]), 0);
    expect(&at(&here, &["restore", "letters", "--to", "bag"]), 0);
    expect(&at(&there, &["deposit", "bag", "--object", "as-bag"]), 0);
    let mut bad = std::fs::read(user.path("note.txt")).unwrap();
    bad.resize(512, 0);
    std::fs::write(user.path("bag/data/big.bin"), bad).unwrap();
    let refused = at(&there, &["deposit", "bag", "--object", "bad"]);
    assert_eq!((refused.status.code(), code(&refused)), (Some(1), "source-refused".into()));

    // The same is printed, for people and for programs. What is free changes while one looks.
    let work = user.json(&[&here[..], &[&"work", &"list", &"--status", &"trouble"]].concat(), 0);
    let trouble = work[0]["id"].as_str().unwrap();
    for (args, exit) in [
        (&["object", "list"][..], 0),
        (&["object", "list", "--institution", "local"], 0),
        (&["object", "show", "letters"], 0),
        (&["object", "show", "local/sent@1", "--all"], 0),
        (&["object", "files", "sent", "--extents"], 0),
        (&["object", "files", "as-bag"], 0),
        (&["object", "events", "sent"], 0),
        (&["object", "events"], 0),
        (&["object", "events", "--verify"], 0),
        (&["object", "show", "nobody"], 1),
        (&["object", "show", "letters@7"], 1),
        (&["work", "list"], 0),
        (&["work", "list", "--status", "succeeded"], 0),
        (&["work", "show", trouble], 0),
        (&["work", "show", "ffff"], 1),
        (&["status"], 0),
        (&["shelf", "list"], 0),
        (&["cat", "letters", "1914/june.txt"], 0),
        (&["cat", "letters", "data/big.bin"], 0),
        (&["cat", "letters", "nothing-such"], 1),
        (&["account", "list"], 0),
    ] {
        for json in [&[][..], &["--json"]] {
            let args = [args, json].concat();
            let steady = |output: &Output| {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let free = ["status", "shelf"].contains(&args[0]);
                let text =
                    if free { text.replace(|c: char| c.is_ascii_digit(), "0") } else { text };
                (output.status.code(), text, code(output))
            };
            let there = steady(&at(&there, &args));
            assert_eq!(there, steady(&at(&here, &args)), "{args:?}");
            assert_eq!(there.0, Some(exit), "{args:?}");
        }
    }
    let cancelled = at(&there, &["work", "cancel", trouble]);
    expect(&cancelled, 0);
    let again = at(&there, &["work", "requeue", trouble]);
    assert_eq!((again.status.code(), code(&again)), (Some(3), "conflict".into()));

    // What comes back from there is what comes back here.
    for form in ["bag", "files", "tar"] {
        let ending = if form == "tar" { ".tar" } else { "" };
        let (local, fetched) = (format!("local-{form}{ending}"), format!("fetched-{form}{ending}"));
        expect(&at(&here, &["restore", "sent", "--as", form, "--to", &local]), 0);
        expect(&at(&there, &["restore", "sent", "--as", form, "--to", &fetched]), 0);
        match form {
            "tar" => {
                expect(&at(&here, &["bag", "validate", &fetched]), 0);
                let refused = at(&there, &["restore", "sent", "--as", form, "--to", &fetched]);
                assert_eq!(
                    (refused.status.code(), code(&refused)),
                    (Some(2), "target-exists".into())
                );
            }
            _ => assert_eq!(tree(&user.path(&fetched)), tree(&user.path(&local)), "{form}"),
        }
    }

    // An account may what its role may, until it is disabled.
    expect(&at(&there, &["account", "add", "local/eve", "--role", "observer"]), 0);
    let made = at(&there, &["token", "create", "local/eve", "--scope", "read", "--days", "1"]);
    expect(&made, 0);
    std::fs::write(user.path("token"), &made.stdout).unwrap();
    expect(&at(&there, &["object", "list"]), 0);
    let refused = at(&there, &["cat", "letters", "1914/june.txt"]);
    assert_eq!((refused.status.code(), code(&refused)), (Some(1), "forbidden".into()));
    let refused = at(&there, &["deposit", "letters"]);
    assert_eq!((refused.status.code(), code(&refused)), (Some(1), "forbidden".into()));
    expect(&at(&here, &["account", "disable", "local/eve"]), 0);
    let refused = at(&there, &["object", "list"]);
    assert_eq!((refused.status.code(), code(&refused)), (Some(3), "unauthorized".into()));

    // What is done where the archive is says so, and a server that is not there is missed.
    let refused = at(&there, &["repair"]);
    assert_eq!((refused.status.code(), code(&refused)), (Some(2), "usage".into()));
    let nowhere: [&dyn AsRef<OsStr>; 2] = [&"--server", &"http://127.0.0.1:9"];
    let missed = at(&nowhere, &["status"]);
    assert_eq!((missed.status.code(), code(&missed)), (Some(3), "server".into()));
    assert_eq!(server.end(), Some(0));
}
