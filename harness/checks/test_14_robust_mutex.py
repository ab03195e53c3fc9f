"""Lab 14: a robust mutex outlives its owner, and the next process undoes what the owner left half done."""
import contextlib
import errno
import struct
from dataclasses import dataclass, replace

from shmlab import LabFixture, points, require, require_bytes
from shmlab.judging.require import CheckFailed

TOTAL = 1000
ROBUST = 1  # PTHREAD_MUTEX_ROBUST, in glibc and in musl
LOCKS = ("pthread_mutex_lock", "pthread_mutex_timedlock", "pthread_mutex_trylock")
FIELDS = struct.Struct("=7q")  # what struct bank begins with: ready, account, under_way, before, repairs


@dataclass(frozen=True)
class Bank:
    """The object but for the mutex, as it stands in /dev/shm."""

    account: tuple
    under_way: int = 0
    before: tuple = (TOTAL, 0)
    repairs: int = 0
    ready: int = 1

    @property
    def line(self) -> str:
        return (f"ready {self.ready}  account {self.account[0]} {self.account[1]}  under_way {self.under_way}  "
                f"before {self.before[0]} {self.before[1]}  repairs {self.repairs}")

    @property
    def answer(self) -> bytes:
        """What a program prints that leaves the bank like this."""
        return f"{self.account[0]} {self.account[1]} {self.repairs}\n".encode()


def look(lab: LabFixture, name: str) -> Bank:
    raw = lab.object_bytes(name)
    require(len(raw) > FIELDS.size, f"{name} holds a struct bank", f"it has {len(raw)} bytes", lab.objects())
    ready, first, second, under_way, old_first, old_second, repairs = FIELDS.unpack(raw[: FIELDS.size])
    return Bank((first, second), under_way, (old_first, old_second), repairs, ready)


def set_bank(lab: LabFixture, name: str, bank: Bank) -> None:
    """Puts the bank into a state, its mutex as it is."""
    lab.set_object(name, FIELDS.pack(bank.ready, *bank.account, bank.under_way, *bank.before, bank.repairs))


@contextlib.contextmanager
def explains_a_hang(lab: LabFixture):
    """Where a process waits for a mutex that nobody will unlock, and that was not made robust, the failure says so."""
    try:
        yield
    except CheckFailed as failure:
        calls = [call for call in lab.read_calls() if not call.failed]
        made = any(call.name == "pthread_mutex_init" for call in calls)
        robust = [call for call in calls if call.name == "pthread_mutexattr_setrobust"]
        if made and not any(call.arguments[1] == ROBUST for call in robust) and "futex()" in " ".join(failure.saw):
            failure.expected = "the mutex is robust: when its owner has died, the next process gets it, and is told"
            failure.saw.insert(0, f"the mutex was set up without PTHREAD_MUTEX_ROBUST: {robust[-1]}" if robust else
                               "the mutex has no robust attribute: pthread_mutexattr_setrobust() was not called before "
                               "pthread_mutex_init()")
        raise


def work(lab: LabFixture, name: str, *words: object, **options):
    """Runs the student's program to its end."""
    with explains_a_hang(lab):
        return lab.run("robust_mutex", name, *words, **options)


def stranger(lab: LabFixture, name: str, *words: object):
    """Runs the finished program to its end, as a process that knows nothing of the student's."""
    with explains_a_hang(lab):
        return lab.reference("robust_mutex", name, *words).wait()


def points_from_lock(lab: LabFixture, name: str, *words: object):
    """Runs the program once. Returns its calls from the lock to the unlock, as hold points."""
    work(lab, name, *words).require_success()
    counts, found, inside = {}, [], False
    for call in lab.history[-1].calls:
        counts[call.name] = counts.get(call.name, 0) + 1
        if call.name in LOCKS and call.result not in (16, 110):  # neither EBUSY nor ETIMEDOUT
            inside, found = True, []
        if inside:
            found.append((call.name, counts[call.name]))
        if call.name == "pthread_mutex_unlock":
            inside = False
    require(found, "the program locks the mutex", "no such call was recorded")
    return found[:20]


def kill_at(lab: LabFixture, name: str, point, *words: object, state=None) -> Bank:
    """Kills the student's program right after a call. Returns the bank at that moment."""
    owner = lab.start("robust_mutex", name, *words, stop_at=point)
    owner.wait_stopped()
    if state:
        set_bank(lab, name, state)
    bank = look(lab, name)
    owner.kill()
    owner.wait()
    return bank


def dead_owner(lab: LabFixture, bank: Bank, first=None) -> str:
    """A bank in this state whose owner has been killed. Returns its name."""
    name = lab.name()
    first = first or points_from_lock(lab, lab.name(), "transfer", 1)[0]
    kill_at(lab, name, first, "transfer", 1, state=bank)
    return name


HALF_DONE = Bank((600, 200), under_way=1, before=(800, 200), repairs=3)


def explore_deaths(lab: LabFixture, bank: Bank, *words: object):
    """The owner of the mutex is killed at any step, also where what it has stored since its last settle() gets out in another
    order. If a transfer is under way in the bank, an owner has died there already.

    Gives what each such death leaves behind, and the next process, which knows nothing of the dead one, at its end.
    """
    for weak in False, True:
        lab.reset()
        name = dead_owner(lab, bank) if bank.under_way else lab.name()
        if not bank.under_way:
            work(lab, name, "show").require_success()
            set_bank(lab, name, bank)
        left = {end.object_bytes(name): end for end in lab.every_schedule(("robust_mutex", name, *words), preemptions=0, deaths=1,
                                                                         weak=weak) if died_as_owner(end)}
        lab.reset()
        for raw, _ in zip(left, lab.once_more(left.values())):
            name = lab.name()
            lab.make_object(name, raw)
            then = look(lab, name)
            yield then, stranger(lab, name, "show"), look(lab, name)
            lab.unlink_object(name)
    lab.reset()


def died_as_owner(end) -> bool:
    """Whether the process was killed between its lock and its unlock."""
    calls = [step for step in end.raw.steps if step.kind in (*LOCKS, "pthread_mutex_unlock") and not step.waits]
    return end.runs[0].killed and bool(calls) and calls[-1].kind in LOCKS and calls[-1].result in (0, errno.EOWNERDEAD)


@points(1, read="handout, Steps")
def test_usage(lab):
    """Invalid arguments end with "usage: …" on stderr and exit status 2, valid ones with exit status 0."""
    name = lab.name()
    for words in ["show"], ["transfer", 1], ["transfer", 999]:
        work(lab, name, *words).require_success()
    name = lab.name()
    wrong = [[], ["show"], [name], [name, "transfer"], [name, "show", 1], [name, "transfer", 1, 2], [name, "x"],
             [name, "x", 1]]
    for words in wrong + [[name, "transfer", n] for n in (0, -1, 1001, "", "x", "1x", " 1", "+1", "0x1", "1.5", 1 << 64)]:
        lab.run("robust_mutex", *words).require_usage().left_behind.require_nothing()


@points(1, read="handout, Steps")
def test_transfer(lab):
    """A transfer moves AMOUNT from the first account to the second if it is there, and the program prints what the bank holds."""
    name = lab.name()
    for words, account in ((["show"], (1000, 0)), (["transfer", 300], (700, 300)), (["transfer", 700], (0, 1000)),
                           (["show"], (0, 1000))):
        run = work(lab, name, *words).require_success()
        bank = look(lab, name)
        require(bank.account == account and not bank.under_way,
                f"account {account[0]} {account[1]} after {' '.join(map(str, words))}", bank)
        require_bytes(run.stdout, Bank(account).answer, "stdout is the two accounts and the number of repairs")
    set_bank(lab, name, Bank((400, 600)))
    work(lab, name, "transfer", 401).require_failure(name)
    stranger(lab, name, "transfer", 400).require_success()
    bank = look(lab, name)
    require(bank.account == (0, 1000), "account 0 1000 after a transfer of 401 that must be refused, and one of 400", bank)
    require(bank.repairs == 0, "repairs 0: every process unlocked the mutex before it ended", bank)


@points(1, read="pthread_mutexattr_setpshared(3), futex(2); handout, Background")
def test_waits_its_turn(lab):
    """While one process owns the mutex, another sleeps, and continues when it is unlocked."""
    first = points_from_lock(lab, lab.name(), "transfer", 1)[0]
    name = lab.name()
    owner = lab.start("robust_mutex", name, "transfer", 100, stop_at=first)
    owner.wait_stopped()
    # Whether the mutex is process-shared the kernel does not show: glibc's robust mutexes wake everybody.
    shared = [call for call in lab.read_calls() if call.name == "pthread_mutexattr_setpshared" and call.pid == owner.pid]
    require(any(call.arguments[1] == 1 and not call.failed for call in shared),
            "the mutex is set up for several processes: PTHREAD_PROCESS_SHARED", [str(call) for call in shared])
    other = lab.start("robust_mutex", name, "transfer", 10)
    other.wait_for_others("the mutex can be handed over from one process to another")
    owner.resume()
    require_bytes(owner.wait().require_success().stdout, Bank((900, 100)).answer, "the owner does its transfer alone")
    require_bytes(other.wait().require_success().stdout, Bank((890, 110)).answer, "the other's follows")


@points(1, read="msync(2); handout, Background and Steps")
def test_steps_are_settled(lab):
    """The steps of a transfer are done in their order, and each is settled before the next."""
    name = lab.name()
    work(lab, name, "transfer", 1).require_success()  # so that `before` holds something old
    old, seen = Bank((999, 1)), []
    for point in points_from_lock(lab, name, "transfer", 100):
        if point[0] == "pthread_mutex_unlock":
            break
        set_bank(lab, name, old)
        seen.append((point, kill_at(lab, name, point, "transfer", 100)))
        stranger(lab, name, "show").require_success()
    steps = [("nothing has changed yet", old), ("step 1: `before` holds both accounts", replace(old, before=(999, 1))),
             ("step 2: a transfer is under way", replace(old, before=(999, 1), under_way=1)),
             ("step 3: the first account is less", Bank((899, 1), 1, (999, 1))),
             ("step 4: the second account is more", Bank((899, 101), 1, (999, 1))),
             ("step 5: no transfer is under way", Bank((899, 101), 0, (999, 1)))]
    shown = [f"after {name}() number {nth}: {bank.line}" for (name, nth), bank in seen]
    rest = iter(seen)
    for text, wanted in steps:
        require(any(bank == wanted for _, bank in rest),
                f"after some call inside the critical section: {text}: {wanted.line}", shown)


@points(1, read="handout, Background and Steps")
def test_owner_is_killed(lab):
    """Wherever the owner is killed, the next process finds its transfer done completely or not at all."""
    for then, run, bank in explore_deaths(lab, Bank((900, 100)), "transfer", 100):
        require(run.exit_status == 0, "the next process continues", then, run.ending)
        require(bank.account in ((900, 100), (800, 200)), "account 900 100 or 800 200", f"when the owner was killed: {then.line}",
                f"after the next process: {bank.line}")
        require(bank.repairs == 1, "the next process learns from the mutex that its owner has died", then, bank)
    if lab.explored:
        return
    for point in points_from_lock(lab, lab.name(), "transfer", 100):
        name = lab.name()
        then = kill_at(lab, name, point, "transfer", 100)
        run = stranger(lab, name, "show")
        story = f"killed after {point[0]}() number {point[1]}, with {then.line}"
        require(run.exit_status == 0, "the next process continues", story, run.ending)
        bank = look(lab, name)
        require(bank.account in ((1000, 0), (900, 100)), "account 1000 0 or 900 100", story,
                f"after the next process: {bank.line}")
        if point[0] != "pthread_mutex_unlock":
            require(bank.repairs == 1, "the next process learns from the mutex that its owner has died", story, bank)


@points(2, read="pthread_mutex_lock(3p), EOWNERDEAD; handout, Steps")
def test_survivor_repairs(lab):
    """A process that gets the mutex of a dead owner undoes a transfer that was under way, counts the repair, and does its own
    work."""
    first = points_from_lock(lab, lab.name(), "transfer", 1)[0]
    for what, bank, account in (
            ("half-way, taken from the first account", HALF_DONE, (800, 200)),
            ("half-way, added to the second account", Bank((800, 400), 1, (800, 200)), (800, 200)),
            ("with both accounts changed", Bank((600, 400), 1, (800, 200)), (800, 200)),
            ("before it changed an account", Bank((800, 200), 1, (800, 200)), (800, 200)),
            ("when its transfer was done", Bank((600, 400), 0, (800, 200), 1), (600, 400))):
        for words, moved in ((["show"], 0), (["transfer", 50], 50))[bank != HALF_DONE:]:
            name = dead_owner(lab, bank, first)
            run = work(lab, name, *words)
            story = f"the owner was killed {what}: {bank.line}"
            require(run.exit_status == 0, "the next process continues", story, run.ending)
            wanted = Bank((account[0] - moved, account[1] + moved), repairs=bank.repairs + 1)
            now = look(lab, name)
            require((now.account, now.under_way, now.repairs) == (wanted.account, 0, wanted.repairs),
                    f"after {' '.join(map(str, words))}: account {wanted.account[0]} {wanted.account[1]}  under_way 0  "
                    f"repairs {wanted.repairs}", story, f"after the next process: {now.line}")
            require_bytes(run.stdout, wanted.answer, "it prints the repaired accounts and the number of repairs")


@points(1, read="pthread_mutex_consistent(3), ENOTRECOVERABLE; handout, Background")
def test_third_process(lab):
    """After the repair the mutex works as before: a third process, and a fourth, can lock it."""
    for left, sums in (HALF_DONE, (750, 250)), (Bank((600, 400), 0, (800, 200), 3), (550, 450)):
        name, story = dead_owner(lab, left), f"the owner was killed and left {left.line}"
        for ordinal, words, account in (("first", ["transfer", 50], sums), ("second", ["show"], sums),
                                        ("third", ["transfer", 1], (sums[0] - 1, sums[1] + 1))):
            run = work(lab, name, *words)
            require(run.exit_status == 0, f"the {ordinal} process after the dead owner can lock the mutex", story, run.ending)
            bank = look(lab, name)
            require(bank.account == account, f"account {account[0]} {account[1]} after the {ordinal} process", story, bank)
        require(bank.repairs == 4, "repairs 4: three earlier ones, and one by the first process", story, bank)


@points(1, read="pthread_mutexattr_setrobust(3), pthread_mutex_consistent(3); handout, Background")
def test_others_die_too(lab):
    """A process that already waits when the owner is killed continues, and one that is killed during its repair leaves the
    repair to the next."""
    first = points_from_lock(lab, lab.name(), "transfer", 1)[0]
    name = lab.name()
    owner = lab.start("robust_mutex", name, "transfer", 1, stop_at=first)
    owner.wait_stopped()
    set_bank(lab, name, HALF_DONE)
    other = lab.start("robust_mutex", name, "transfer", 50)
    other.wait_blocked(lambda call: call.in_futex)
    owner.kill()
    owner.wait()
    with explains_a_hang(lab):
        other.wait()
    require_bytes(other.wait().require_success().stdout, Bank((750, 250), repairs=4).answer,
                  "the waiting process repairs the bank, and continues")

    for then, run, bank in explore_deaths(lab, HALF_DONE, "show"):
        require(run.exit_status == 0, "the next process continues", then, run.ending)
        require(bank.account == (800, 200), "account 800 200, wherever the repairing process was killed",
                f"when it was killed: {then.line}", f"after the next process: {bank.line}")
    lab.reset()
    seen = []
    for point in points_from_lock(lab, dead_owner(lab, HALF_DONE, first), "show"):
        if point[0] == "pthread_mutex_unlock":
            break
        name = dead_owner(lab, HALF_DONE, first)
        then = kill_at(lab, name, point, "show")
        seen.append((point, then))
        run = stranger(lab, name, "show")
        story = f"the repairing process was killed after {point[0]}() number {point[1]}, with {then.line}"
        require(run.exit_status == 0, "the next process continues", story, run.ending)
        bank = look(lab, name)
        require(bank.account == (800, 200), "account 800 200", story, f"after the next process: {bank.line}")
    require(any(bank.account == (800, 200) and bank.under_way for _, bank in seen),
            "after some call of the repair: both accounts are restored, and the transfer is still under way",
            [f"after {name}() number {nth}: {bank.line}" for (name, nth), bank in seen])
    require(any(bank.account == (800, 200) and not bank.under_way and bank.repairs == 3 for _, bank in seen),
            "after a later call of the repair: the transfer is no longer under way, and the repair is not counted yet",
            [f"after {name}() number {nth}: {bank.line}" for (name, nth), bank in seen])


@points(1, read="handout, Steps; err(3)")
def test_failing_calls(lab):
    """If any call fails, the program reports it, exits with status 1 and leaves a bank that others can use."""

    def whole(name, run, *accounts):
        # The bank may stay: who comes next sets it up if that is not done.
        run.left_behind.objects = [item for item in run.left_behind.objects if item.name != name]
        after = stranger(lab, name, "show")
        require(after.exit_status == 0, "after the failure another process can use the bank", run.ending, after.ending)
        bank = look(lab, name)
        require(bank.account in accounts, "after the failure another process finds the transfer done completely or not "
                "at all", bank, run.ending)
        return run

    def transfer(**fault):
        name = lab.name()
        return whole(name, work(lab, name, "transfer", 100, **fault), (1000, 0), (900, 100))

    def repair(**fault):
        name = dead_owner(lab, HALF_DONE, first)
        run = work(lab, name, "show", **fault)
        return whole(name, run, (800, 200)) if fault else run

    first = points_from_lock(lab, lab.name(), "transfer", 1)[0]
    lab.each_call_fails(transfer, "/shmlab", " mutex")  # "lock the mutex", say; but not another call
    lab.reset()
    # Of a process that repairs, only what it does beyond the others.
    inside = {name for name, _ in points_from_lock(lab, dead_owner(lab, HALF_DONE, first), "show")[1:]}
    made = {call.name for call in lab.history[-1].calls}
    lab.each_call_fails(repair, "/shmlab", " mutex", skip=sorted(made - inside))
    lab.reset()
    work(lab, "/no/such/name", "show").require_failure("shm_open", "/no/such/name")
    name = lab.name()
    work(lab, name, "show").require_success()
    old = look(lab, name)
    run = work(lab, name, "transfer", 100, fail=[(call, 1, errno.ENOTRECOVERABLE) for call in LOCKS])
    require(run.exit_status == 1 and look(lab, name) == old,
            f"a process that cannot lock the mutex exits with status 1, and does not change the bank: {old.line}",
            "the lock failed with ENOTRECOVERABLE (this check made it fail)", run.ending, look(lab, name))
    name = lab.name()
    run = work(lab, name, "show", stdout="/dev/full")
    require(run.exit_status == 1 and run.stderr, "exit status 1 and a message if stdout is full", run.ending)
