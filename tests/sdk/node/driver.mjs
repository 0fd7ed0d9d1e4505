// Asks every case in every way, all ways at once; prints one JSON object per line: {way, case, text, reason, ...}.
// argv[2]: JSON {urls: {way: {case: url}}, cases: [{name, prompt, tools}], schema, maxTokens}
import Anthropic from '@anthropic-ai/sdk';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, jsonSchema, streamText, tool } from 'ai';
import { Ollama } from 'ollama';
import OpenAI from 'openai';

const { urls, cases, schema, maxTokens } = JSON.parse(process.argv[2]);
const weather = { name: 'get_weather', description: 'Weather of a city' };
const chatTool = { type: 'function', function: { ...weather, parameters: schema } };
const responsesTool = { type: 'function', ...weather, parameters: schema, strict: false };
const anthropicTool = { ...weather, input_schema: schema };

const messages = (ask) => [{ role: 'user', content: ask.prompt }];
const withTools = (ask, one) => (ask.tools ? { tools: [one] } : {});

const openai = (ask) => new OpenAI({ baseURL: `${ask.url}/v1`, apiKey: 'none', fetch: ask.fetch });
const chat = (ask) => ({ model: ask.model, messages: messages(ask), ...withTools(ask, chatTool) });
const responses = (ask) => ({ model: ask.model, input: ask.prompt, ...withTools(ask, responsesTool) });

function readCompletion(completion, told) {
  const [choice] = completion.choices;
  told.text = choice.message.content ?? '';
  told.reason = choice.finish_reason;
  told.calls = (choice.message.tool_calls ?? []).map((call) => [call.function.name, call.function.arguments]);
}

async function openaiStream(ask, told) {
  const calls = new Map();
  for await (const chunk of await openai(ask).chat.completions.create({ stream: true, ...chat(ask) })) {
    for (const choice of chunk.choices) {
      told.text += choice.delta.content ?? '';
      told.reason = choice.finish_reason ?? told.reason;
      for (const piece of choice.delta.tool_calls ?? []) {
        const call = calls.get(piece.index) ?? ['', ''];
        calls.set(piece.index, [call[0] + (piece.function.name ?? ''), call[1] + (piece.function.arguments ?? '')]);
      }
    }
  }
  told.calls = [...calls.values()];
}

async function openaiWhole(ask, told) {
  readCompletion(await openai(ask).chat.completions.create(chat(ask)), told);
}

async function openaiHelper(ask, told) {
  const stream = openai(ask).chat.completions.stream(chat(ask));
  stream.on('content', (delta) => { told.text += delta; });
  readCompletion(await stream.finalChatCompletion(), told);
}

function readResponse(response, told) {
  told.text = response.output_text ?? told.text;
  told.reason = response.incomplete_details?.reason ?? response.status;
  told.calls = response.output.filter((item) => item.type === 'function_call').map((item) => [item.name, item.arguments]);
}

async function responsesStream(ask, told) {
  for await (const event of await openai(ask).responses.create({ stream: true, ...responses(ask) })) {
    if (event.type === 'response.output_text.delta') told.text += event.delta;
    if (event.type === 'response.completed' || event.type === 'response.incomplete') readResponse(event.response, told);
  }
}

async function responsesWhole(ask, told) {
  readResponse(await openai(ask).responses.create(responses(ask)), told);
}

const ollama = (ask) => new Ollama({ host: ask.url, fetch: ask.fetch });
const ollamaChat = (ask) => ({ model: ask.model, messages: messages(ask), ...withTools(ask, chatTool) });

function readOllama(line, told) {
  told.text += line.message.content ?? '';
  told.reason = line.done_reason ?? told.reason;
  for (const call of line.message.tool_calls ?? []) told.calls.push([call.function.name, call.function.arguments]);
}

async function ollamaStream(ask, told) {
  for await (const line of await ollama(ask).chat({ stream: true, ...ollamaChat(ask) })) readOllama(line, told);
}

async function ollamaWhole(ask, told) {
  readOllama(await ollama(ask).chat(ollamaChat(ask)), told);
}

const anthropic = (ask) => new Anthropic({ baseURL: ask.url, apiKey: 'none', fetch: ask.fetch });
const anthropicRequest = (ask) => (
  { model: ask.model, max_tokens: maxTokens, messages: messages(ask), ...withTools(ask, anthropicTool) }
);

function readMessage(message, told) {
  told.text = message.content.filter((block) => block.type === 'text').map((block) => block.text).join('');
  told.reason = message.stop_details?.type ?? message.stop_reason;
  told.calls = message.content.filter((block) => block.type === 'tool_use').map((block) => [block.name, block.input]);
}

async function anthropicHelper(ask, told) {
  const stream = anthropic(ask).messages.stream(anthropicRequest(ask));
  stream.on('text', (delta) => { told.text += delta; });
  readMessage(await stream.finalMessage(), told);
}

async function anthropicWhole(ask, told) {
  readMessage(await anthropic(ask).messages.create(anthropicRequest(ask)), told);
}

const aiRequest = (ask) => ({
  model: createOpenAICompatible({ name: 'proxy', baseURL: `${ask.url}/v1`, apiKey: 'none', fetch: ask.fetch })(ask.model),
  messages: messages(ask),
  ...(ask.tools ? { tools: { get_weather: tool({ description: weather.description, inputSchema: jsonSchema(schema) }) } } : {}),
});
const aiCalls = (calls) => calls.map((call) => [call.toolName, call.input]);

// streamText does not throw: what went wrong is told to onError, and the reason is "error" if there is one.
async function aiStream(ask, told) {
  let problem;
  const result = streamText({ ...aiRequest(ask), onError: ({ error }) => { problem ??= error; } });
  for await (const delta of result.textStream) told.text += delta;
  if (problem) failed(problem, told);
  told.reason = await result.finishReason.catch(() => null);
  told.calls = aiCalls(await result.toolCalls.catch(() => []));
}

async function aiWhole(ask, told) {
  const result = await generateText(aiRequest(ask));
  told.text = result.text;
  told.reason = result.finishReason;
  told.calls = aiCalls(result.toolCalls);
}

function failed(error, told) {
  const last = error.lastError ?? error;
  told.error = error instanceof Error ? error.constructor.name : 'plain object';
  told.code = error.code ?? last.data?.error?.code ?? null;
  told.status = error.status ?? error.status_code ?? last.statusCode ?? null;
  told.message = String(error.message ?? JSON.stringify(error));
}

const ways = {
  'node-openai-stream': openaiStream,
  'node-openai-whole': openaiWhole,
  'node-openai-helper': openaiHelper,
  'node-openai-responses-stream': responsesStream,
  'node-openai-responses-whole': responsesWhole,
  'node-ollama-stream': ollamaStream,
  'node-ollama-whole': ollamaWhole,
  'node-anthropic-helper': anthropicHelper,
  'node-anthropic-whole': anthropicWhole,
  'node-ai-stream': aiStream,
  'node-ai-whole': aiWhole,
};

async function askOne(way, one) {
  const told = { way, case: one.name, text: '', reason: null, calls: [], error: null, code: null, status: null, message: '', asked: 0 };
  const counted = (...request) => { told.asked += 1; return fetch(...request); };
  try {
    await ways[way]({ url: urls[way][one.name], model: 'tiny', prompt: one.prompt, tools: one.tools, fetch: counted }, told);
  } catch (error) {
    failed(error, told);
  }
  console.log(JSON.stringify(told));
}

await Promise.all(Object.keys(urls).flatMap((way) => cases.map((one) => askOne(way, one))));
process.exit(0);
