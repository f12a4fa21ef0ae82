# %% [markdown]
# A run that nobody watches: its log, its limits, what an interrupt leaves, the same command again by
# cron, numbers for a monitor, and a proof of the store. The address of the server is in
# `OPENAI_BASE_URL`, its key in `CONSILIENCE_API_KEY`; neither stands in a command, log or store.
#
# **One file says all of it**, and every run reads it.

# %%
cat > ops.toml <<'END'
[data]
file = "claims.csv"
text = "claim"
id = "claim_id"

[task]
question = "Is the claim true or false?"
classes = ["False", "True"]

[model]
name = "openai:tiny"
concurrency = 4          # requests under way at once

[budget]
calls_per_example = 4
price = [0.10, 0.01, 0.40]
currency = "EUR"
max_cost = 5
max_calls = 5000

[output]
store = "ops.db"
table = "labels.csv"
END

# %% [markdown]
# **Before the first call**: can this server be used, and what will it cost. Everything has `--json`
# for a program; data goes to stdout, talk to stderr.

# %%
consilience probe "$OPENAI_BASE_URL" --model tiny --json
consilience run ops.toml --dry-run --json

# %% [markdown]
# **The run**, with a log file. Here somebody presses Ctrl-C, or a service manager sends SIGTERM:
# what is under way is finished and kept, and the exit code is 1. `max_cost` and `max_calls` hold for
# this command: the next one, the same once more too, may spend as much again.

# %%
consilience --log-file run.log run ops.toml  # interrupted; exits with 1

# %% [markdown]
# **The same command again** goes on where it stopped: the store holds what was answered, and nothing
# is asked twice. From **cron** the line may stand as it is: a run that is done asks nothing, writes
# the same bytes and exits with 0. With `--json` it prints its numbers for a monitor.

# %%
consilience --log-file run.log run ops.toml
consilience --log-file run.log run ops.toml --json

# %% [markdown]
# **Exit codes**: 0 done; 1 failed on the way, so that the same command may go on (an interrupt, a
# server that is down); 2 something in the command is wrong, and will stay wrong.

# %%
consilience run ops.toml --base-url http://127.0.0.1:9/v1 --set model.retries=0 --store down.db  # exits with 1
consilience run ops.toml --text nowhere  # exits with 2

# %% [markdown]
# **Is the store sound**, what did it cost, which runs are in it, and who answered. `verify` derives
# every key anew from what was kept; a copy of the file is a backup.

# %%
consilience store verify ops.db
consilience store stats ops.db --json
consilience store runs ops.db --json
consilience store sources ops.db
consilience solve --store ops.db --json
