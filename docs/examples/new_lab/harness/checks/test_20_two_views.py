"""Lab 20: one page of memory is mapped at two addresses."""
from shmlab import points, require, require_bytes


@points(2, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    lab.run("two_views", "hello").require_success()
    for words in [], ["a", "b"]:
        lab.run("two_views", *words).require_usage()


# [kernel]
@points(3, read="mmap(2); handout, Background")
def test_two_views(lab):
    """The page is mapped twice, at two addresses, once to write and once only to read."""
    program = lab.start("two_views", "hello", stop_at=("mmap", 2))
    program.wait_stopped()
    views = [mapping for mapping in program.shared_maps() if mapping.name.startswith("/memfd:")]
    require(sorted(view.flags for view in views) == ["r--s", "rw-s"] and len({view.inode for view in views}) == 1,
            "two lines of /proc/PID/maps with one inode, `rw-s` and `r--s`", views)
# [kernel]


@points(3, read="handout, Step 2")
def test_text(lab):
    """What is stored through one view is printed through the other."""
    for text in "hello", "x" * 4000:
        run = lab.run("two_views", text).require_success()
        require_bytes(run.stdout, text.encode() + b"\n", "stdout")


@points(2, read="err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and cleans up."""
    lab.each_call_fails(lambda **fault: lab.run("two_views", "hello", **fault))
