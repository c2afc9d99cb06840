//! `generate --speculate`: the bytes of plain decoding, whatever else is asked for.

mod common;

use std::fs;

use common::{expect, model_file, pico, run, text};

/// What a command writes.
fn written(words: &[&str]) -> Vec<u8> {
    let output = run(words);
    expect(&output, 0, "");
    output.stdout
}

#[test]
fn drafts_change_no_byte_of_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let prompt = text(dir.path().join("prompt"));
    // Broken UTF-8, and lines that repeat.
    fs::write(&prompt, [&b"\xff\xc3key=value, other=4711\n"[..]; 8].concat()).unwrap();
    let checkpoint = text(model_file("sensor-pico", ""));
    let cases: [&[&str]; 6] = [
        &["sensor-micro", "--prompt", "$GPGGA,", "--temperature", "0.8", "--seed", "5"],
        &["sensor-micro", "--prompt", "$GPGGA,", "--temperature", "0"],
        &["sensor-nano", "--prompt-file", &prompt, "--top-p", "0.9"],
        &["sensor-nano", "--prompt-file", &prompt, "--adapt", "8K", "--top-k", "9"],
        &["sensor-nano", "--prompt", "$GP", "--stop", ",", "--stop", "\n", "--temperature", "1.5", "--seed", "2"],
        &[&checkpoint, "-n", "100", "--threads", "1"],
    ];
    for case in cases {
        let case = [&["generate"], case].concat();
        let alone = written(&case);
        let drafts: [&[&str]; 3] =
            [&["suffix"], &["adapter", "--draft-len", "5"], &["sensor-pico", "--draft-len", "auto", "--stats"]];
        for draft in drafts {
            let words = [&case[..], &["--speculate"], draft].concat();
            assert!(written(&words) == alone, "{words:?}");
        }
    }
}

/// From texts to a model over subwords that drafts: the files are Hugging Face's, the bytes those of plain decoding.
#[test]
fn a_trained_subword_model_drafts() {
    let dir = tempfile::tempdir().unwrap();
    let log = text(dir.path().join("some.log"));
    let lines: String = (0..900u32).map(|i| format!("{:06} pump={} state=ok\n", 120_000 + i * 5, i % 3)).collect();
    fs::write(&log, lines).unwrap();
    let folder = text(dir.path().join("subwords"));
    let train = ["train", &log, "-o", &folder, "--d-model", "16", "--n-layer", "1", "--window", "32", "--batch", "4"];
    let made = run(&[&train[..], &["--steps", "30", "--tokenizer", "bpe:320", "--threads", "1"]].concat());
    expect(&made, 0, "subwords");
    let files: Vec<_> = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
        "log.jsonl",
        "model.mbb",
    ]
    .into_iter()
    .filter(|file| dir.path().join("subwords").join(file).is_file())
    .collect();
    assert_eq!(
        files,
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md", "log.jsonl"]
    );
    let read = |file| -> serde_json::Value {
        serde_json::from_slice(&fs::read(dir.path().join("subwords").join(file)).unwrap()).unwrap()
    };
    let tokenizer = read("tokenizer.json");
    assert_eq!(
        (&tokenizer["model"]["type"], &tokenizer["pre_tokenizer"]["type"]),
        (&"BPE".into(), &"ByteLevel".into())
    );
    assert_eq!(read("config.json")["vocab_size"], tokenizer["model"]["vocab"].as_object().unwrap().len());

    for choice in [&["--temperature", "0"][..], &["--seed", "4"]] {
        let plain = [&["generate", "sensor-nano", "--prompt", "\u{fc}ber $GP", "-n", "150"], choice].concat();
        let drafted = [&plain[..], &["--speculate", &folder]].concat();
        assert!(written(&drafted) == written(&plain), "{choice:?}");
        let adapted = [&plain[..], &["--adapt", "4K"]].concat();
        assert!(written(&[&drafted[..], &["--adapt", "4K"]].concat()) == written(&adapted), "{choice:?}");
    }
    // How checkpoints are loaded holds for it, too.
    let drafted = ["generate", "sensor-nano", "-n", "40", "--speculate", &folder];
    expect(&run(&[&drafted[..], &["--byte-offset", "3"]].concat()), 2, "subwords");
    let mut config = read("config.json");
    config["num_hidden_layers"] = 2.into();
    fs::write(dir.path().join("subwords/config.json"), config.to_string()).unwrap();
    expect(&run(&drafted), 1, "trust-tensors");
    assert!(written(&[&drafted[..], &["--trust-tensors"]].concat()) == written(&drafted[..4]));
    config["num_hidden_layers"] = 1.into();
    fs::write(dir.path().join("subwords/config.json"), config.to_string()).unwrap();
    // It is no model of bytes, and says so; a byte model with such a tokenizer is refused, too.
    expect(&run(&["generate", &folder]), 1, "vocabulary");
    fs::write(dir.path().join("subwords/tokenizer.json"), "{}").unwrap();
    expect(&run(&["generate", "sensor-nano", "--speculate", &folder]), 2, "tokenizer.json");
    for wrong in ["bpe:256", "bpe:65537", "bpe", "unigram:8000"] {
        expect(&run(&["train", &log, "-o", &folder, "--tokenizer", wrong]), 2, "bpe:N");
    }
    expect(&run(&["train", &log, "-o", &folder, "--tokenizer", "bpe:300", "--from", "sensor-nano"]), 2, "--tokenizer");
}

#[test]
fn stats_say_what_happened() {
    let words =
        ["generate", "sensor-micro", "--prompt", "$GPGGA,", "-n", "200", "--speculate", "sensor-nano", "--stats"];
    let output = run(&words);
    expect(&output, 0, "drafted ");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for word in ["accepted", "rounds of", "verify", "replay", "without drafts"] {
        assert!(said.contains(word), "{said}");
    }
    // Without --stats there is at most the note that it does not pay.
    let quiet = run(&words[..8]);
    let said = String::from_utf8_lossy(&quiet.stderr).into_owned();
    assert!(said.is_empty() || said.starts_with("note: --speculate does not pay"), "{said}");
    assert_eq!(quiet.stdout, output.stdout);
}

#[test]
fn rejection_writes_another_text_with_the_same_seed_the_same() {
    let rejection = ["generate", &pico(), "-n", "120", "--speculate", "sensor-nano", "--speculate-mode", "rejection"];
    let first = written(&rejection);
    assert_eq!(first.len(), 120);
    assert_eq!(first, written(&rejection));
    assert_ne!(first, written(&rejection[..4]));
    let greedy = [&rejection[..], &["--temperature", "0"]].concat();
    assert_eq!(written(&greedy), written(&[&rejection[..4], &["--temperature", "0"]].concat()));
}

#[test]
fn the_mode_of_the_paper_says_what_it_costs() {
    let greedy = ["generate", "sensor-micro", "--prompt", "$GPGGA,", "--temperature", "0", "-n", "300"];
    let paper = [&greedy[..], &["--speculate", "sensor-pico", "--speculate-mode", "paper", "--stats"]].concat();
    let said = |words: &[&str]| {
        let output = run(words);
        expect(&output, 0, "bits per byte under the model");
        (String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
    };
    // The best byte alone: the greedy text, at no loss.
    let (costs, text) = said(&[&paper[..], &["--beta", "1"]].concat());
    assert_eq!(text, written(&greedy));
    assert!(costs.contains("of its own text: +0.0000"), "{costs}");
    let (costs, text) = said(&paper);
    assert_ne!(text, written(&greedy));
    assert_eq!(text.len(), 300);
    let loss = costs.split("of its own text: ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    assert!(loss.parse::<f64>().unwrap() > 0.0, "{costs}");
    // Equal seeds, equal texts; sampled, too.
    let warm = [&paper[..4], &["--seed", "3"], &paper[6..]].concat();
    assert_eq!(written(&warm[..warm.len() - 1]), said(&warm).1);
}

#[test]
fn wrong_use_is_refused_by_name() {
    for length in ["0", "32", "many", "-1"] {
        let length = format!("--draft-len={length}");
        expect(&run(&["generate", &pico(), "--speculate", "suffix", &length]), 2, "--draft-len");
    }
    for alone in [&["--stats"][..], &["--draft-len", "4"], &["--speculate-mode", "rejection"]] {
        expect(&run(&[&["generate", &pico()], alone].concat()), 2, "--speculate");
    }
    expect(&run(&["generate", "none", "--speculate", "suffix"]), 2, "--speculate: the model is `none`");
    expect(&run(&["generate", &pico(), "--speculate", "no/such"]), 1, "no/such");
    expect(&run(&["generate", &pico(), "--speculate", "suffix", "--speculate-mode", "other"]), 2, "rejection");
    expect(&run(&["generate", &pico(), "--speculate", "suffix", "--beta", "3"]), 2, "--speculate-mode paper");
    let paper = ["generate", &pico(), "--speculate", "suffix", "--speculate-mode", "paper", "--beta"];
    for beta in ["0", "257", "few"] {
        expect(&run(&[&paper[..], &[beta]].concat()), 2, "--beta");
    }
}
