//! Whoever follows a page of the documentation notices where it is not true.
#![cfg(unix)]

use zt_tests::page::parse;
use zt_tests::reader::Reader;

const PAGE: &str = "
# The file

```sh hello.sh
name=nobody
echo \"hello, $name\"
```

```diff hello.sh
-name=nobody
+name=$1
 echo \"hello, $name\"
```

```sh hello.sh whole
name=$1
echo \"hello, $name\"
```

# The commands

```console
$ mkdir -p below && cd below
$ greet() { sh ../hello.sh \"$1\"; }
$ greet world; echo it is $$
hello, world
it is …
```

# What stays

```console stays
$ sh -c 'echo up; while [ ! -e stop ]; do sleep 0.1; done; echo one; echo two at $$'
up
```

```console
$ touch stop
```

```console says
two at …
```
";

/// Follows a page, and says where it is wrong.
fn follow(page: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let steps = parse(page).map_err(|wrong| wrong.to_string())?;
    let mut reader = Reader::new(folder.path(), &[]).unwrap();
    steps.iter().try_for_each(|step| reader.follow(step)).map_err(|wrong| wrong.to_string())
}

#[test]
fn a_page_that_is_true_is_followed_to_its_end() {
    assert_eq!(follow(PAGE), Ok(()));
}

#[test]
fn a_page_that_is_not_true_is_not() {
    for (said, instead, heading) in [
        ("hello, world\n", "hello, you\n", "The commands"),
        ("hello, world\n", "", "The commands"),
        ("hello, world\n", "hello, world\nand more\n", "The commands"),
        ("-name=nobody", "-name=somebody", "The file"),
        ("```sh hello.sh whole\nname=$1", "```sh hello.sh whole\nname=$2", "The file"),
        ("```sh hello.sh whole", "```sh other.sh whole", "The file"),
        ("$$'\nup", "$$'\ndown", "What stays"),
        ("echo up; while", "exit; while", "What stays"),
        ("two at …", "three at …", "What stays"),
    ] {
        let page = PAGE.replacen(said, instead, 1);
        assert_ne!(page, PAGE, "{said}");
        let wrong = follow(&page).unwrap_err();
        assert!(wrong.starts_with("line ") && wrong.contains(heading), "{wrong}");
    }
}

#[test]
fn what_stays_ends_with_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let page = "```console stays\n$ sh -c 'echo $$ > pid; echo up; sleep 600; true'\nup\n```";
    let mut reader = Reader::new(folder.path(), &[]).unwrap();
    for step in &parse(page).unwrap() {
        reader.follow(step).unwrap();
    }
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    let is_up = || {
        let mut kill = std::process::Command::new("sh");
        kill.args(["-c", &format!("kill -0 {} 2>/dev/null", pid.trim())])
            .status()
            .unwrap()
            .success()
    };
    assert!(is_up());
    drop(reader);
    assert!(!is_up());
}
