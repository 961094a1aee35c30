# Messages, timed steps, and processes that are ended by pid and birth time. Sourced, never run.

say() { echo "env: $*" >&2; }
die() { say "$*"; exit 1; }

# step TEXT CMD...: one progress line before, one with the seconds taken after, the log's tail when it fails
step() {
  local text=$1 t0=$SECONDS; shift
  say "$text ..."
  set +e; (set -e; "$@"); local rc=$?; set -e # not `if "$@"`, which would take set -e away from CMD
  if [ $rc = 0 ]; then say "$text: done in $((SECONDS - t0)) s"; else say "$text: FAILED after $((SECONDS - t0)) s"; fi
  return $rc
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# wait_for SECONDS TEXT CMD...: until CMD succeeds
wait_for() {
  local limit=$1 text=$2 end; shift 2; end=$((SECONDS + limit))
  until "$@" >/dev/null 2>&1; do [ $SECONDS -lt "$end" ] || die "$text: not after $limit s"; sleep 0.2; done
}

# A pid file holds the pid and the time the process started, so that a pid used again is never taken for ours.
birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" {print $20}'; } # field 22; none for a zombie
note_pid() { mkdir -p "$ENV_DIR/run"; echo "$2 $(birth "$2")" >"$ENV_DIR/run/$1.pid"; }
pid_of() { # NAME: prints the pid if that process still lives
  local p b
  read -r p b 2>/dev/null <"$ENV_DIR/run/$1.pid" || return 1
  [ -n "$b" ] && [ "$(birth "$p")" = "$b" ] && echo "$p"
}
spawn() { # NAME CMD...: a background process of its own session, with a log and a pid file
  local n=$1; shift
  end "$n"; mkdir -p "$ENV_DIR/log"
  setsid "$@" >>"$ENV_DIR/log/$n.log" 2>&1 </dev/null &
  note_pid "$n" $!; disown $!
}
end() { # NAME: SIGKILL, and wait until it is gone
  local p
  if p=$(pid_of "$1"); then
    kill -KILL "$p" 2>/dev/null || true
    for _ in $(seq 100); do [ -n "$(pid_of "$1")" ] || break; sleep 0.1; done
    [ -z "$(pid_of "$1")" ] || die "process $p ($1) does not end"
  fi
  rm -f "$ENV_DIR/run/$1.pid"
}
