%% Distributed Erlang as a peer of Strongroom's messaging: what `!` and gen_server:call cost between
%% nodes on one machine. Run it through disterl.sh, which compiles it and starts epmd.
%%
%%   ring  --nodes 6 --workers 6 --bytes 10485760 --rounds R
%%   ping  --seconds S [--load] [--loaders 4] [--bytes 10485760] [--gap-ms 0] --rounds R
%%   calls --seconds S --concurrency C [--bytes 64] --rounds R
%%
%% A controller (this VM) starts one VM for each node, places processes on them, tells them to go, and
%% prints one line of JSON. It is not one of the measured nodes, and waits while they work. `--flags`
%% replaces the flags the nodes are started with; `--flags ''` gives the VM's defaults.
-module(disterl).
-behaviour(gen_server).

-export([main/0, node_main/0]).
-export([ring_worker/3, echo/0, sink/2, ping_rounds/4, call_rounds/4]).
-export([start_server/0, init/1, handle_call/3, handle_cast/2]).

%% The flags of the measured nodes: of those tried, the ones that serve distributed Erlang best. Tried
%% on two cores with OTP 25 that other work shared, medians: of 10 to 20 rounds for the ring, of 2 to 6
%% for the others. Medians of the same flags differed by a tenth and more, so that smaller effects are
%% not claimed.
%%
%% +S 1:1 (one scheduler for each node, as six nodes share two cores): ring 1.27 -> 1.07 s; a third
%%     more calls; p99 of pings under load halved.
%% +MMmcs, +MMamcbf, +MMrmcbf (keep freed memory of 10 MiB messages for the next, in place of giving it
%%     back and having every page faulted in again): ring 1.27 -> 0.96 s, CPU 2.46 -> 1.87 s. A super
%%     carrier (+MMscs 512 or 1024, with or without +MBsbct and +MBlmbcs, to place such messages in
%%     shared carriers) does about the same, less steadily.
%% garbage_collect() after a message is passed on, here in the code: ring CPU 2.46 -> 1.98 s with the
%%     VM's default flags.
%% +zdbbl 128 (suspend senders at 128 KiB in a connection's queue, not at 1 MiB): ring unchanged; p50 of
%%     pings under load 7.9 -> 0.9 ms, throughput unchanged. 256 and 32 are worse, 64 is alike; 32 MiB
%%     and 64 MiB change nothing in the ring, and 64 MiB makes pings wait twice as long.
%% {sndbuf, 262144}: p50 of pings under load 0.9 -> 0.45 ms. The ring took a quarter longer, so it goes
%%     without. 128 KiB is no better; a larger sndbuf, recbuf or buffer made no clear difference.
%% {nodelay, true}: no difference that stands out, in any of the three.
%% +sbwt none, +sbwtdcpu none, +sbwtdio none (schedulers that do not spin): none either, even in CPU time,
%%     as all cores are busy.
-define(BULK_FLAGS, "+S 1:1 +MMmcs 30 +MMamcbf 16384 +MMrmcbf 100 +zdbbl 128").
-define(SMALL_FLAGS, ?BULK_FLAGS
        " -kernel inet_dist_connect_options [{sndbuf,262144}]"
        " -kernel inet_dist_listen_options [{sndbuf,262144}]").

-define(START_MS_MAX, 30000).
-define(ROUND_MS_MAX, 300000).
-define(PINGS_PER_SECOND_MAX, 200000).
-define(WARM_MS, 1000).

%% --- the controller

main() ->
    %% `erl -s` calls from the process that starts the system, which has more to do.
    spawn(fun controller/0).

controller() ->
    register(controller, self()),
    %% Whatever goes wrong here ends this VM, and with it the nodes: see node_main/0.
    try run(init:get_plain_arguments()) of
        Json ->
            stop_nodes(),
            io:put_chars([Json, $\n]),
            halt(0)
    catch
        throw:{usage, Text} ->
            io:format(standard_error, "disterl: ~ts~n", [Text]),
            halt(2);
        Class:Reason:Stack ->
            io:format(standard_error, "disterl: ~p: ~p~n~p~n", [Class, Reason, Stack]),
            halt(1)
    end.

run(["ring" | Arguments]) ->
    ring(options(Arguments, #{nodes => 6, workers => 6, bytes => 10485760, rounds => 1,
                              flags => ?BULK_FLAGS}));
run(["ping" | Arguments]) ->
    ping(options(Arguments, #{seconds => 5, load => false, loaders => 4, bytes => 10485760,
                              gap_ms => 0, rounds => 1, flags => ?SMALL_FLAGS}));
run(["calls" | Arguments]) ->
    calls(options(Arguments, #{seconds => 5, concurrency => 64, bytes => 64, rounds => 1,
                                flags => ?SMALL_FLAGS}));
run(_) ->
    throw({usage, "ring, ping or calls; bench/wire/README.md says more"}).

options(["--load" | Rest], #{load := _} = Options) ->
    options(Rest, Options#{load := true});
options(["--flags", Flags | Rest], Options) ->
    options(Rest, Options#{flags := Flags});
options(["--" ++ Name, Value | Rest], Options) ->
    Key = try list_to_existing_atom(lists:flatten(string:replace(Name, "-", "_", all)))
          catch error:badarg -> unknown
          end,
    case {Options, string:to_integer(Value)} of
        {#{Key := Default}, {N, ""}} when is_integer(Default), N >= 0 ->
            options(Rest, Options#{Key := N});
        _ ->
            throw({usage, ["--", Name, " ", Value, " is not understood"]})
    end;
options([], Options) ->
    [N > 0 orelse throw({usage, [atom_to_list(Key), " must be more than 0"]})
     || Key <- [nodes, workers, rounds, seconds, concurrency, bytes], {ok, N} <- [maps:find(Key, Options)]],
    Options;
options([Other | _], _) ->
    throw({usage, [Other, " is not understood"]}).

%% Starts a VM for each node, and returns their names and process identifiers once all are there and
%% each is connected with the next.
start_nodes(Count, Flags) ->
    Started = [start_node(I, Flags) || I <- lists:seq(1, Count)],
    Nodes = [Node || {Node, _} <- Started],
    [receive {hello, Node} -> ok
     after ?START_MS_MAX -> error({node_did_not_start, Node})
     end || Node <- Nodes],
    [true = erpc:call(Node, net_kernel, connect_node, [Next])
     || {Node, Next} <- lists:zip(Nodes, rotate(Nodes)), Node =/= Next],
    Started.

start_node(I, Flags) ->
    Name = "strongroom" ++ integer_to_list(I) ++ "@127.0.0.1",
    Arguments = string:lexemes(Flags, " ") ++
        ["-noshell", "-name", Name, "-setcookie", atom_to_list(erlang:get_cookie()),
         "-start_epmd", "false", "-connect_all", "false",
         "-kernel", "inet_dist_use_interface", "{127,0,0,1}",
         "-pa", filename:dirname(code:which(?MODULE)),
         "-s", "disterl", "node_main", "-extra", atom_to_list(node())],
    %% The pipe to its standard input is the node's lifeline.
    Port = open_port({spawn_executable, os:find_executable("erl")},
                     [{args, Arguments}, binary, exit_status]),
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    {list_to_atom(Name), OsPid}.

%% So that none is left, not even for a moment, when this VM has ended.
stop_nodes() ->
    Nodes = nodes(connected),
    [erpc:cast(Node, erlang, halt, [0, [{flush, false}]]) || Node <- Nodes],
    [receive {_Port, {exit_status, _}} -> ok after ?START_MS_MAX -> error(node_does_not_end) end
     || _ <- Nodes].

%% The life of a node: it says that it is there, and ends when the controller has, however that came
%% about (a killed controller closes the pipe too).
node_main() ->
    [Controller] = init:get_plain_arguments(),
    spawn(fun() -> _ = io:get_line(""), halt(0) end),
    spawn(fun() -> {controller, list_to_atom(Controller)} ! {hello, node()} end).

%% Waits for a message of a worker; fails when a node ends instead. What nodes print is for people.
await(Match, MillisecondsMax) ->
    receive
        {_Port, {data, Text}} ->
            io:put_chars(standard_error, Text),
            await(Match, MillisecondsMax);
        {_Port, {exit_status, Status}} ->
            error({node_ended, Status});
        {Match, Value} ->
            Value
    after MillisecondsMax ->
        error({no_answer, Match})
    end.

%% --- the ring
%%
%% Every worker of every node is the origin of one message a round. The message goes to the worker of
%% the same number on the next node, and on, until it has been on every node: nodes - 1 hops. The last
%% node acknowledges the origin. All go at once.

ring(#{nodes := NodeCount, workers := WorkerCount, bytes := Bytes, rounds := Rounds, flags := Flags}) ->
    NodeCount >= 2 orelse throw({usage, "a ring has two nodes or more"}),
    Started = start_nodes(NodeCount, Flags),
    OsPids = [OsPid || {_, OsPid} <- Started],
    Table = [[spawn(Node, ?MODULE, ring_worker, [self(), NodeCount - 1, Bytes])
              || _ <- lists:seq(1, WorkerCount)] || {Node, _} <- Started],
    [Worker ! {next, Next}
     || {Workers, NextWorkers} <- lists:zip(Table, rotate(Table)),
        {Worker, Next} <- lists:zip(Workers, NextWorkers)],
    Workers = lists:append(Table),
    [await(ready, ?START_MS_MAX) || _ <- Workers],
    %% The first round primes connections and memory and compares checksums; it does not count.
    _ = ring_round(Workers, OsPids, check),
    Results = [ring_round(Workers, OsPids, go) || _ <- lists:seq(1, Rounds)],
    Walls = [Wall || {Wall, _} <- Results],
    Cpus = [Cpu || {_, Cpu} <- Results],
    object([{benchmark, {text, "ring"}}, {nodes, NodeCount}, {workers, WorkerCount}, {bytes, Bytes},
            {bytes_on_the_wire, Bytes * NodeCount * WorkerCount * (NodeCount - 1)},
            {wall_s, Walls}, {cpu_s, Cpus},
            {wall_s_median, median(Walls)}, {cpu_s_median, median(Cpus)} | circumstances(Flags)]).

%% Seconds from the first send to the last acknowledgement, as the workers saw them, and CPU seconds of
%% all nodes, taken by the controller just before it says go and when the last acknowledgement is known.
ring_round(Workers, OsPids, Go) ->
    %% Late work of the round before (garbage, freed pages) is its own.
    timer:sleep(300),
    CpuBefore = cpu_ns(OsPids),
    [Worker ! Go || Worker <- Workers],
    Times = [await(done, ?ROUND_MS_MAX) || _ <- Workers],
    CpuAfter = cpu_ns(OsPids),
    First = lists:min([From || {From, _} <- Times]),
    Last = lists:max([To || {_, To} <- Times]),
    {seconds(Last - First), seconds(CpuAfter - CpuBefore)}.

ring_worker(Controller, Hops, Bytes) ->
    Payload = payload(Bytes),
    receive {next, Next} -> ok end,
    Controller ! {ready, ok},
    ring_loop(Controller, Next, Hops, Payload, erlang:crc32(Payload), undefined).

ring_loop(Controller, Next, Hops, Payload, Checksum, Began) ->
    receive
        {hop, Origin, Left, How, Bytes} when byte_size(Bytes) =:= byte_size(Payload) ->
            case Left of
                0 when How =:= check -> Origin ! {acknowledged, erlang:crc32(Bytes)};
                0 -> Origin ! acknowledged;
                _ -> Next ! {hop, Origin, Left - 1, How, Bytes}
            end,
            %% Else some messages would stay until the next collection, and the next ones need new memory.
            garbage_collect(),
            ring_loop(Controller, Next, Hops, Payload, Checksum, Began);
        {acknowledged, Checksum} ->
            Controller ! {done, {Began, now_ns()}},
            ring_loop(Controller, Next, Hops, Payload, Checksum, undefined);
        acknowledged ->
            Controller ! {done, {Began, now_ns()}},
            ring_loop(Controller, Next, Hops, Payload, Checksum, undefined);
        How when How =:= go; How =:= check ->
            Now = now_ns(),
            Next ! {hop, self(), Hops - 1, How, Payload},
            ring_loop(Controller, Next, Hops, Payload, Checksum, Now)
    end.

%% --- pings
%%
%% One process on the first node asks one on the second, over and over, each time when the answer to
%% the last has come (or --gap-ms later). With --load, other processes send large messages the same
%% way, each waiting for its acknowledgement before it sends the next.

ping(#{seconds := Seconds, load := Load, loaders := LoaderCount, bytes := Bytes, gap_ms := GapMs,
       rounds := Rounds, flags := Flags}) ->
    [{A, _}, {B, _}] = Started = start_nodes(2, Flags),
    Loaders = case Load of true -> LoaderCount; false -> 0 end,
    OsPids = [OsPid || {_, OsPid} <- Started],
    Plan = #{seconds => Seconds, loaders => Loaders, bytes => Bytes, gap_ms => GapMs, os_pids => OsPids},
    spawn(A, ?MODULE, ping_rounds, [self(), B, Rounds, Plan]),
    Wait = ?START_MS_MAX + 2 * Rounds * (?WARM_MS + Seconds * 1000) * 2,
    Results = await(pinged, Wait),
    object([{benchmark, {text, "ping"}}, {seconds, Seconds}, {loaders, Loaders}, {load_bytes, Bytes},
            {gap_ms, GapMs},
            {raw, ping_report(Loaders, [R || {raw, R} <- Results])},
            {gen_server, ping_report(Loaders, [R || {gen_server, R} <- Results])}
            | circumstances(Flags)]).

ping_report(Loaders, Results) ->
    Keys = [round_trips, p50_us, p99_us, max_us] ++
        case Loaders of 0 -> []; _ -> [load_gb_per_s, cpu_s_per_gb] end,
    {object, [{Key, [maps:get(Key, R) || R <- Results]} || Key <- Keys]
     ++ [{p50_us_median, median([maps:get(p50_us, R) || R <- Results])},
         {p99_us_median, median([maps:get(p99_us, R) || R <- Results])}]}.

%% On the first node.
ping_rounds(Controller, B, Rounds, #{loaders := Loaders, bytes := Bytes} = Plan) ->
    Echo = spawn(B, ?MODULE, echo, []),
    Server = erpc:call(B, ?MODULE, start_server, []),
    Sent = counters:new(1, [write_concurrency]),
    [spawn_link(fun() ->
         Payload = payload(Bytes),
         load(spawn(B, ?MODULE, sink, [self(), Bytes]), Payload, Sent)
     end) || _ <- lists:seq(1, Loaders)],
    Ways = [{raw, fun() -> raw_ping(Echo) end},
            {gen_server, fun() -> gen_server:call(Server, ping, infinity) end}],
    Controller ! {pinged, [{Way, ping_round(Ping, Sent, Plan)}
                           || _ <- lists:seq(1, Rounds), {Way, Ping} <- Ways]}.

raw_ping(Echo) ->
    %% A fresh reference, known to be so by the compiler, lets the receive skip older messages.
    Ref = make_ref(),
    Echo ! {self(), Ref},
    receive Ref -> ok end.

ping_round(Ping, Sent, #{seconds := Seconds, gap_ms := GapMs, os_pids := OsPids, bytes := Bytes}) ->
    %% Samples lie outside the heap: collecting them must not disturb what they measure.
    Room = Seconds * ?PINGS_PER_SECOND_MAX,
    Samples = atomics:new(Room, []),
    _ = ping_until(now_ns() + ?WARM_MS * 1000000, Ping, GapMs, Samples, Room, 0),
    Cpu = cpu_ns(OsPids),
    Before = counters:get(Sent, 1),
    Begun = now_ns(),
    Count = ping_until(Begun + Seconds * 1000000000, Ping, GapMs, Samples, Room, 0),
    Taken = now_ns() - Begun,
    Gigabytes = (counters:get(Sent, 1) - Before) * Bytes / 1.0e9,
    CpuTaken = seconds(cpu_ns(OsPids) - Cpu),
    Sorted = lists:sort([atomics:get(Samples, I) || I <- lists:seq(1, Count)]),
    #{round_trips => Count,
      p50_us => percentile(Sorted, Count, 50), p99_us => percentile(Sorted, Count, 99),
      max_us => lists:last(Sorted) / 1000,
      load_gb_per_s => Gigabytes / seconds(Taken),
      cpu_s_per_gb => case Gigabytes > 0 of true -> CpuTaken / Gigabytes; false -> 0.0 end}.

ping_until(Deadline, Ping, GapMs, Samples, Room, Count) ->
    From = now_ns(),
    if
        From >= Deadline, Count > 0; Count =:= Room ->
            Count;
        true ->
            _ = Ping(),
            atomics:put(Samples, Count + 1, now_ns() - From),
            GapMs > 0 andalso timer:sleep(GapMs),
            ping_until(Deadline, Ping, GapMs, Samples, Room, Count + 1)
    end.

load(Sink, Payload, Sent) ->
    Sink ! {self(), Payload},
    receive acknowledged -> counters:add(Sent, 1, 1) end,
    load(Sink, Payload, Sent).

%% On the second node.
sink(From, Bytes) ->
    receive {From, Payload} when byte_size(Payload) =:= Bytes -> From ! acknowledged end,
    garbage_collect(),
    sink(From, Bytes).

echo() ->
    receive
        {From, Ref} -> From ! Ref;
        {From, Ref, Payload} -> From ! {Ref, Payload}
    end,
    echo().

start_server() ->
    %% Not linked: the process that starts it for another node ends at once.
    {ok, Pid} = gen_server:start(?MODULE, [], []),
    Pid.

init(_) -> {ok, none}.
handle_call(ping, _From, State) -> {reply, pong, State}.
handle_cast(_, State) -> {noreply, State}.

%% --- calls
%%
%% Many processes on the first node, each with a partner on the second, each asking again when it has
%% its answer: question and answer carry the same bytes.

calls(#{seconds := Seconds, concurrency := Concurrency, bytes := Bytes, rounds := Rounds,
        flags := Flags}) ->
    [{A, _}, {B, _}] = Started = start_nodes(2, Flags),
    OsPids = [OsPid || {_, OsPid} <- Started],
    Plan = #{seconds => Seconds, concurrency => Concurrency, bytes => Bytes, os_pids => OsPids},
    spawn(A, ?MODULE, call_rounds, [self(), B, Rounds, Plan]),
    Results = await(called, ?START_MS_MAX + Rounds * (?WARM_MS + Seconds * 1000) * 2),
    Rates = [Count / Wall || {Count, Wall, _} <- Results],
    Cpus = [Cpu || {_, _, Cpu} <- Results],
    object([{benchmark, {text, "calls"}}, {seconds, Seconds}, {concurrency, Concurrency}, {bytes, Bytes},
            {calls_per_s, Rates}, {cpu_s, Cpus},
            {cpu_us_per_call, [Cpu * 1.0e6 / Count || {Count, _, Cpu} <- Results]},
            {calls_per_s_median, median(Rates)}, {cpu_s_median, median(Cpus)}
            | circumstances(Flags)]).

call_rounds(Controller, B, Rounds, #{concurrency := Concurrency, bytes := Bytes} = Plan) ->
    Made = counters:new(1, [write_concurrency]),
    Payload = payload(Bytes),
    [spawn_link(fun() -> caller(spawn(B, ?MODULE, echo, []), Payload, Made) end)
     || _ <- lists:seq(1, Concurrency)],
    Controller ! {called, [call_round(Made, Plan) || _ <- lists:seq(1, Rounds)]}.

call_round(Made, #{seconds := Seconds, os_pids := OsPids}) ->
    timer:sleep(?WARM_MS),
    Cpu = cpu_ns(OsPids),
    Begun = now_ns(),
    Before = counters:get(Made, 1),
    timer:sleep(Seconds * 1000),
    Count = counters:get(Made, 1) - Before,
    Taken = now_ns() - Begun,
    {Count, seconds(Taken), seconds(cpu_ns(OsPids) - Cpu)}.

caller(Echo, Payload, Made) ->
    Ref = make_ref(),
    Echo ! {self(), Ref, Payload},
    receive {Ref, _} -> counters:add(Made, 1, 1) end,
    caller(Echo, Payload, Made).

%% --- helpers

%% Memory of its own for each that asks: what is sent from one buffer again and again stays in the
%% cache.
payload(Bytes) ->
    Piece = rand:bytes(min(Bytes, 1 bsl 20)),
    Copies = (Bytes + (1 bsl 20) - 1) div (1 bsl 20),
    binary:copy(binary:part(binary:copy(Piece, max(1, Copies)), 0, Bytes)).

%% The system's monotonic clock, the same for all processes of a machine (erlang:monotonic_time is each
%% VM's own).
now_ns() ->
    erlang:convert_time_unit(os:perf_counter(), perf_counter, nanosecond).

%% User and system time of all threads of these processes, as the scheduler counts it: what getrusage
%% tells, without its granularity, and for processes other than the caller. The VM's threads live as
%% long as it does, so that none is missed.
cpu_ns(OsPids) ->
    lists:sum([thread_ns(["/proc/", integer_to_list(OsPid), "/task/"], Task)
               || OsPid <- OsPids,
                  Task <- element(2, {ok, _} = file:list_dir(["/proc/", integer_to_list(OsPid), "/task"]))]).

thread_ns(Folder, Task) ->
    {ok, Text} = file:read_file([Folder, Task, "/schedstat"]),
    [OnCpu | _] = string:lexemes(Text, " \n"),
    binary_to_integer(OnCpu).

seconds(Nanoseconds) -> Nanoseconds / 1.0e9.

percentile(Sorted, Count, P) ->
    lists:nth(max(1, (Count * P + 99) div 100), Sorted) / 1000.

median(Values) ->
    Sorted = lists:sort(Values),
    Count = length(Sorted),
    (lists:nth((Count + 1) div 2, Sorted) + lists:nth(Count div 2 + 1, Sorted)) / 2.

rotate([First | Rest]) -> Rest ++ [First].

circumstances(Flags) ->
    Control = case file:read_file("/proc/sys/net/ipv4/tcp_congestion_control") of
                  {ok, Text} -> string:trim(binary_to_list(Text));
                  {error, _} -> "unknown"
              end,
    [{congestion_control, {text, Control}}, {otp, {text, erlang:system_info(otp_release)}},
     {flags, {text, Flags}}].

object(Fields) ->
    [${, lists:join($,, [[$", atom_to_list(Key), "\":", json(Value)] || {Key, Value} <- Fields]), $}].

json({object, Fields}) -> object(Fields);
json(Value) when is_integer(Value) -> integer_to_list(Value);
json(Value) when is_float(Value) -> float_to_list(Value, [{decimals, 4}]);
%% Names and flags, without control characters.
json({text, Text}) -> [$", [case C of $" -> "\\\""; $\\ -> "\\\\"; _ -> C end || C <- Text], $"];
json(Numbers) -> [$[, lists:join($,, [json(N) || N <- Numbers]), $]].
