# Sourced by check.sh: a SLURM cluster of one machine. Needs WORK; defines start_cluster, stop_cluster.

start_cluster() {  # munge (who is who), slurmctld (the queue), slurmd (the node), all with keys and state in WORK/cluster
  local folder=$WORK/cluster name cpus memory
  name=$(hostname -s) cpus=$(nproc) memory=$(free --mebi | awk '$1 == "Mem:" { print int($2 * 0.9) }')
  rm -rf "$folder" && mkdir -p "$folder/state" "$folder/spool"
  head -c 1024 /dev/urandom > "$folder/munge.key" && chmod 400 "$folder/munge.key"
  munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --seed-file="$folder/munge.seed" --log-file="$folder/munged.log" \
    > "$folder/munged.out" 2>&1 &
  CLUSTER_PIDS=($!)
  cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=20
SchedulerParameters=sched_interval=1,batch_sched_delay=0,defer
MpiDefault=none
MinJobAge=3600
NodeName=$name NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=test Nodes=$name Default=YES MaxTime=INFINITE State=UP
CONF
  export SLURM_CONF=$folder/slurm.conf
  until [ -S "$folder/munge.socket" ]; do sleep 0.2; done
  slurmctld -D > "$folder/slurmctld.out" 2>&1 &
  CLUSTER_PIDS+=($!)
  slurmd -D > "$folder/slurmd.out" 2>&1 &
  CLUSTER_PIDS+=($!)
  for _ in $(seq 60); do
    [ "$(sinfo --noheader --format=%T 2> /dev/null)" = idle ] && return
    sleep 1
  done
  tail -5 "$folder"/*.out
  return 1
}

stop_cluster() {
  local i
  for ((i = ${#CLUSTER_PIDS[@]} - 1; i >= 0; i--)); do
    kill "${CLUSTER_PIDS[i]}" 2> /dev/null && wait "${CLUSTER_PIDS[i]}" 2> /dev/null
  done
}
