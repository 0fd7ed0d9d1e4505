r"""What keys, tokens and passwords of providers look like: prefix, alphabet and length, after their public documents.

One line per format: its name, whose it is, and a pattern. In a pattern `{a}` stands for letters and digits, `{l}` for
small letters and digits, `{u}` for capital letters and digits, `{h}` and `{H}` for hexadecimal digits (small, in any
case), `{w}` for letters, digits, `_` and `-`, `{b}` for base64, `{uuid}` for a UUID. A new format is one more line.
"""

# ruff: noqa: E501  (a format is one line)
from __future__ import annotations

import re
from typing import NamedTuple

_SETS = {
    "{a}": "[A-Za-z0-9]",
    "{l}": "[a-z0-9]",
    "{u}": "[A-Z0-9]",
    "{h}": "[0-9a-f]",
    "{H}": "[0-9A-Fa-f]",
    "{w}": "[A-Za-z0-9_-]",
    "{b}": "[A-Za-z0-9+/]",
    "{uuid}": "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
}


class Format(NamedTuple):
    """name: what a policy calls it. pattern: in the matcher's syntax."""

    name: str
    provider: str
    pattern: str


_TABLE = r"""
# models
openai_project          OpenAI               sk-(?:proj|svcacct|admin|None)-{w}{20,220}
openai_legacy           OpenAI               sk-{a}{20}T3BlbkFJ{a}{20}
anthropic               Anthropic            sk-ant-[a-z]{3,6}\d{2}-{w}{20,140}
openrouter              OpenRouter           sk-or-v1-{h}{64}
sk_key                  OpenAI, DeepSeek, Moonshot, DashScope and others   sk-{w}{20,220}
langfuse                Langfuse             [sp]k-lf-{uuid}
langsmith               LangSmith            lsv2_(?:pt|sk)_{h}{32}_{h}{10}
groq                    Groq                 gsk_{a}{48,56}
xai                     xAI                  xai-{a}{70,90}
perplexity              Perplexity           pplx-{a}{40,56}
replicate               Replicate            r8_{a}{37,40}
huggingface             Hugging Face         hf_{a}{30,40}
huggingface_org         Hugging Face         api_org_{a}{30,40}
fireworks               Fireworks AI         fw_{a}{22,24}
together                Together AI          tgp_v1_{w}{40,50}
nvidia                  NVIDIA               nvapi-{w}{60,70}
cerebras                Cerebras             csk-{l}{44,52}
voyage                  Voyage AI            pa-{w}{43}
pinecone                Pinecone             pcsk_{a}{4,7}_{a}{50,70}
elevenlabs              ElevenLabs           sk_{h}{48}
tavily                  Tavily               tvly-(?:dev-|prod-)?{a}{28,36}
firecrawl               Firecrawl            fc-{h}{32}
jina                    Jina AI              jina_{h}{32}{w}{28}
e2b                     E2B                  e2b_{h}{40}
modal                   Modal                a[ks]-{a}{22}
runpod                  RunPod               rpa_{u}{36,48}
nomic                   Nomic                nk-{w}{43}
zhipu                   Zhipu AI             {h}{32}\.{a}{16}
wandb                   Weights & Biases     wandb_v1_{w}{40,80}
# clouds
aws_access_key          Amazon Web Services  (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}
aws_bedrock             Amazon Bedrock       ABSK{b}{60,269}={0,2}
aws_bedrock_short       Amazon Bedrock       bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t{b}{0,999}={0,2}
google_api_key          Google               AIza{w}{35}
google_client_secret    Google               GOCSPX-{w}{28}
google_refresh_token    Google               1//0{w}{40,120}
google_access_token     Google               ya29\.{w}{30,400}
firebase_messaging      Firebase             AAAA{w}{7}:APA91b{w}{100,160}
azure_client_secret     Microsoft Entra      [A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}
azure_account_key       Azure Storage        AccountKey={b}{86}==
azure_devops            Azure DevOps         {a}{76}AZDO{a}{4}
azure_signed_key        Azure services       {b}{33,76}(?:AzCa|AzFu|AzSe|ACDb|ACRD|APIM|AIoT|[+]ASt|[+]AEh|[+]ARm){b}{4,6}={0,2}
digitalocean            DigitalOcean         do[opr]_v1_{h}{64}
heroku                  Heroku               HRKU-(?:AA{w}{58}|{uuid})
vercel                  Vercel               vc[pkiar]_{a}{24,60}
netlify                 Netlify              nf[pcoub]_{a}{36,40}
cloudflare_origin       Cloudflare           v1\.0-{h}{24}-{h}{146}
cloudflare_token        Cloudflare           cf(?:ut|at|k)_{a}{40,60}
fly                     Fly.io               fo1_{w}{43}
fly_macaroon            Fly.io               fm[12][ar]?_{b}{80,600}={0,3}
render                  Render               rnd_{a}{32}
supabase                Supabase             sbp_(?:v0_)?{h}{40}
supabase_secret         Supabase             sb_secret_{w}{22,40}
neon                    Neon                 napi_{l}{60,68}
planetscale             PlanetScale          pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{32,64}
databricks              Databricks           dapi{h}{32}(?:-\d)?
mongodb_atlas           MongoDB Atlas        mdb_sa_sk_{w}{40}
clickhouse              ClickHouse Cloud     4b1d{a}{38}
alibaba                 Alibaba Cloud        LTAI{a}{12,20}
tencent                 Tencent Cloud        AKID{a}{13,40}
baidu                   Baidu AI Cloud       bce-v3/ALTAK-{a}{21}/{h}{40}
yandex_key              Yandex Cloud         AQVN{w}{35,38}
yandex_iam              Yandex Cloud         t1\.{w}{60,400}={0,2}\.{w}{80,90}={0,2}
yandex_oauth            Yandex               y[0-3]_{w}{55,60}
scaleway                Scaleway             SCW{u}{17}
scalingo                Scalingo             tk-us-{w}{48}
exoscale                Exoscale             EXO{h}{24}
upcloud                 UpCloud              ucat_{u}{26}
tigris                  Tigris               tsec_{w}{40,70}
fauna                   Fauna                fn[A-Z]{w}{37}
xata                    Xata                 xau_{a}{28,48}
# code and builds
github                  GitHub               gh[opur]_{a}{36,255}
github_app              GitHub               ghs_(?:{a}{36}|\d{1,12}_eyJ{w}{10,400}\.eyJ{w}{10,1000}\.{w}{40,700})
github_fine_grained     GitHub               github_pat_[A-Za-z0-9_]{22,255}
gitlab                  GitLab               gl(?:pat|dt|ft|oas|cbt|ptt|imt|soat|rt|rtr|wt)-{w}{20,64}(?:\.{l}{2}\.{l}{9}|\.{l}{9})?
gitlab_agent            GitLab               glagent-{w}{50,1024}
gitlab_feature_flag     GitLab               glffct-{w}{20}
gitlab_runner           GitLab               GR1348941{w}{20}
bitbucket               Bitbucket            ATBB{a}{24,32}
bitbucket_access        Bitbucket            ATCTT3xFfG[A-Za-z0-9_=-]{100,240}
atlassian               Atlassian            ATATT3[A-Za-z0-9_=-]{150,240}
trello                  Trello               ATTA{h}{64}{H}{8}
circleci                CircleCI             CCI(?:PAT|PRJ)_{a}{20,24}_{h}{40}
buildkite               Buildkite            bk(?:ua|aj|pt|ct|cq)_{h}{40}
npm                     npm                  npm_{a}{36}
pypi                    PyPI                 pypi-{w}{50,255}
rubygems                RubyGems             rubygems_{h}{48}
nuget                   NuGet                oy2{l}{43}
crates                  crates.io            cio{a}{32}
clojars                 Clojars              CLOJARS_{l}{60}
docker_hub              Docker Hub           dckr_(?:pat|oat)_{w}{27,32}
artifactory             JFrog Artifactory    AKCp{a}{69}
artifactory_reference   JFrog Artifactory    cmVmd{a}{59}
sonar                   SonarQube            sq[pua]_{h}{40}
snyk                    Snyk                 snyk_(?:uat|sat)\.{h}{8}\.{w}{40,400}
sourcegraph             Sourcegraph          sg[psp]_(?:(?:{h}{16}|local)_)?{h}{40}
sourcegraph_licence     Sourcegraph          slk_{h}{64}
harness                 Harness              [ps]at\.{w}{22}\.{h}{24}\.{a}{20}
octopus                 Octopus Deploy       API-{u}{26}
teamcity                TeamCity             eyJ0eXAiOiAiVENWMiJ9\.{w}{20,60}\.{w}{36,60}
depot                   Depot                depot_(?:org|project|user)_{h}{64}
deno                    Deno Deploy          dd[pow]_{a}{36}
gitpod                  Gitpod               gitpod_pat_{w}{40,120}
codesandbox             CodeSandbox          csb_v1_{w}{43}
postman                 Postman              PMAK-{h}{24}-{h}{34}
apify                   Apify                apify_api_{a}{32,40}
readme                  ReadMe               rdme_{l}{70}
trigger_dev             Trigger.dev          tr_(?:dev|prod|stg|pat)_{a}{20,40}
inngest                 Inngest              signkey-(?:prod|test|branch)-{h}{64}
# infrastructure and its secrets
terraform               HCP Terraform        {a}{14}\.atlasv1\.{w}{60,70}
vault                   HashiCorp Vault      hv[sbr]\.{w}{24,300}
vault_legacy            HashiCorp Vault      s\.{a}{24}
pulumi                  Pulumi               pul-{h}{40}
doppler                 Doppler              dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?{a}{40,44}
infisical               Infisical            st\.{h}{24}\.{h}{32}\.{h}{32}
onepassword             1Password            ops_eyJ{b}{100,2000}={0,3}
onepassword_key         1Password            A3-{u}{6}-(?:{u}{11}|{u}{6}-{u}{5})-{u}{5}-{u}{5}-{u}{5}
bitwarden               Bitwarden            0\.{uuid}\.{a}{30}:{b}{22}==
age                     age                  AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}
openshift               OpenShift            sha256~{w}{43}
rancher                 Rancher              token-{l}{5}:{l}{54}
tailscale               Tailscale            tskey-(?:auth|api|client|scim|webhook)-{a}{10,24}-{a}{20,40}
netbird                 NetBird              nbp_{a}{36}
defined                 Defined Networking   dnkey-[A-Za-z0-9_=-]{26}-[A-Za-z0-9_=-]{52}
authress                Authress             (?:sc|ext|scauth|authress)_[a-z0-9]{5,30}\.{l}{4,6}\.acc[_-][a-z0-9-]{10,32}\.[a-z0-9+/_=-]{30,120}
stytch                  Stytch               secret-(?:test|live)-{w}{36,40}=
coder                   Coder                {a}{10}-{a}{22}
# watching
grafana_service         Grafana              glsa_{a}{32}_{H}{8}
grafana_cloud           Grafana Cloud        glc_eyJ{b}{60,400}={0,3}
grafana_key             Grafana              eyJrIjoi{b}{60,400}={0,3}
newrelic_user           New Relic            NRAK-{u}{27}
newrelic_browser        New Relic            NRJS-{h}{19}
newrelic_insights       New Relic            NRI[IQ]-{w}{32}
newrelic_licence        New Relic            (?:{h}{36}|eu01xx{h}{30})NRAL
sentry_org              Sentry               sntrys_eyJpYXQiO{b}{30,400}={0,2}_{b}{43}
sentry_user             Sentry               sntryu_{h}{64}
honeycomb               Honeycomb            hc(?:a[il]k|[abmx]lk)_{l}{26,64}
dynatrace               Dynatrace            dt0[a-z]\d{2}\.{u}{24}\.{u}{64}
posthog                 PostHog              ph[cxs]_{a}{32,48}
segment                 Segment              sgp_{a}{64}
launchdarkly            LaunchDarkly         (?:sdk|mob|api)-{uuid}
statsig                 Statsig              (?:secret|console|client)-{a}{40,50}
configcat               ConfigCat            configcat-sdk-1/{w}{22}/{w}{22}
rootly                  Rootly               rootly_{h}{64}
prefect                 Prefect              pn[ub]_{a}{36}
dbt                     dbt                  dbt[cu]_{w}{36,60}
# messages and mail
slack_bot               Slack                xox[bpaosr]-\d{8,14}-[A-Za-z0-9-]{16,80}
slack_legacy            Slack                xox[os]-\d{1,13}-\d{1,13}-\d{1,13}-{H}{6,64}
slack_app               Slack                xapp-\d-{u}{8,14}-\d{8,16}-{h}{32,80}
slack_config            Slack                xoxe(?:\.xox[bp])?-\d-[A-Za-z0-9]{100,260}
slack_webhook           Slack                hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{43,120}
discord_bot             Discord              (?:M[Tjz]|N[DTjz]|O[DT]){a}{w}{20,25}\.{w}{6}\.{w}{27,38}
discord_webhook         Discord              discord(?:app)?\.com/api/webhooks/\d{17,20}/{w}{60,72}
telegram                Telegram             \d{8,10}:AA{w}{33}
teams_webhook           Microsoft Teams      webhook\.office\.com/webhookb2/{uuid}@{uuid}/IncomingWebhook/{H}{32}/{uuid}
twilio                  Twilio               SK{h}{32}
sendgrid                SendGrid             SG\.{w}{22}\.{w}{43}
mailgun                 Mailgun              key-{h}{32}
mailgun_public          Mailgun              pubkey-{h}{32}
mailgun_signing         Mailgun              {h}{32}-{h}{8}-{h}{8}
mailchimp               Mailchimp            {h}{32}-us\d{1,2}
mandrill                Mandrill             md-{w}{22}
brevo                   Brevo                x(?:keysib|smtpsib)-{h}{64}-{a}{16}
resend                  Resend               re_{a}{8}_{a}{24}
mailersend              MailerSend           mlsn\.{h}{64}
klaviyo                 Klaviyo              pk_{h}{34}
onesignal               OneSignal            os_v2_(?:app|org)_{l}{100,110}
telnyx                  Telnyx               KEY{H}{32}_{a}{22}
pubnub                  PubNub               sec-c-(?:{uuid}|{b}{48})
ably                    Ably                 {w}{6}\.{w}{6}:{w}{43}
intercom                Intercom             dG9rO[A-Za-z0-9+/]{52,60}={1,2}
# payments and trade
stripe                  Stripe, Paystack, Clerk   [rs]k_(?:live|test|prod)_{a}{10,247}
stripe_webhook          Stripe, Svix         whsec_{b}{24,76}={0,2}
square                  Square               sq0(?:atp|csp|idp|csb)-[A-Za-z0-9_\\\]-]{22,43}
square_access           Square               EAAA{w}{60}
paypal                  PayPal, Braintree    access_token\$(?:production|sandbox)\${l}{16}\${h}{32}
adyen                   Adyen                AQE[a-z]h[A-Za-z0-9+/=]{60,200}-[A-Za-z0-9+/=]{40,100}-[A-Za-z0-9]{8,20}
plaid                   Plaid                access-(?:sandbox|development|production)-{uuid}
shopify                 Shopify              shp(?:at|ca|pa|ss|tka)_{H}{32}
razorpay                Razorpay             rzp_(?:live|test)_{a}{14,24}
flutterwave             Flutterwave          FLW(?:SEC|PUB)K(?:_TEST)?-{h}{12}(?:{h}{20}-X)?
paddle                  Paddle               pdl_(?:live|sdbx)_apikey_{l}{26}_{a}{22}_{a}{3}
mollie                  Mollie               (?:live|test)_{a}{30,35}
gocardless              GoCardless           (?:live|sandbox)_{w}{40}
lob                     Lob                  (?:live|test)_(?:pub_)?{h}{31,35}
easypost                EasyPost             EZ[AT]K{a}{54}
shippo                  Shippo               shippo_(?:live|test)_{h}{40}
duffel                  Duffel               duffel_(?:live|test)_[A-Za-z0-9_=-]{43}
ebay                    eBay                 (?:PRD|SBX)-{h}{12}-{h}{4}-{h}{4}-{h}{4}-{h}{4}
# work and content
airtable                Airtable             pat{a}{14}\.{h}{64}
notion                  Notion               ntn_{a}{40,50}
notion_legacy           Notion               secret_{a}{43}
linear                  Linear               lin_(?:api|oauth)_{a}{32,64}
asana                   Asana                [12]/\d{14,20}(?:/\d{14,20})?:{h}{32}
clickup                 ClickUp              pk_\d{6,10}_{u}{32}
figma                   Figma                fig[dour]_{w}{40,44}
contentful              Contentful           CFPAT-{w}{43}
typeform                Typeform             tfp_{w}{40,62}
hubspot                 HubSpot              pat-[a-z]{2}\d-{uuid}
salesforce              Salesforce           00D{a}{12,15}![A-Za-z0-9._]{80,120}
frameio                 Frame.io             fio-u-[A-Za-z0-9_=-]{64}
dropbox                 Dropbox              sl\.(?:u\.)?{w}{120,1400}
settlemint              SettleMint           sm_(?:aat|pat|sat)_{a}{16}
maxmind                 MaxMind              {a}{6}_{a}{29}_mmk
adafruit                Adafruit IO          aio_{a}{28}
ubidots                 Ubidots              BBFF-{a}{30}
# people's networks
facebook                Meta                 EAA[A-Za-z0-9]{90,400}
facebook_app            Meta                 \d{15,16}\|{w}{27}
instagram               Meta                 IG[QA][A-Z]{w}{80,400}
twitter_bearer          X                    A{22}[A-Za-z0-9%]{80,100}
linkedin                LinkedIn             WPL_AP1\.{a}{16}\.{b}{6,8}={0,2}
pinterest               Pinterest            pina_{u}{60,120}
mapbox                  Mapbox               [pst]k\.(?:eyJ{w}{40,120}|{l}{60})\.{w}{20,24}
twitch                  Twitch               oauth:{l}{30}
bitcoin_extended        Bitcoin              [xyz]prv[1-9A-HJ-NP-Za-km-z]{107,108}
"""

_AMBIGUOUS = (
    "coder vault_legacy zhipu mailgun_signing ably fireworks voyage modal crates firecrawl mandrill lob mollie "
    "gocardless nuget octopus statsig azure_client_secret azure_devops azure_signed_key terraform newrelic_licence "
    "mailchimp maxmind"
)
AMBIGUOUS = frozenset(_AMBIGUOUS.split())
"""So little tells these from other text that the name of a key has to stand before them: by their form alone every
word would have to wait, or words would be found."""


def _expanded(pattern: str) -> str:
    r"""The pattern as it is matched: in Markdown, `_` may be written as `\_`."""
    pattern = _UNDERSCORE.sub(lambda match: match[1] or r"\\?_", pattern)
    for short, full in _SETS.items():
        pattern = pattern.replace(short, full)
    return pattern


_UNDERSCORE = re.compile(r"(\[[^\]]*\]|\\.)|_")
"""What stands in a set stays, and so does what is escaped."""


def _read(line: str) -> Format:
    name, rest = line.split(maxsplit=1)
    provider, pattern = rest.rsplit(maxsplit=1)
    return Format(name, provider.strip(), _expanded(pattern))


FORMATS = tuple(_read(line) for line in _TABLE.strip().splitlines() if not line.startswith("#"))
"""Every format, in the order of the table."""
