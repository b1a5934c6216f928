// openai-node: asks what standard input lists, prints what the application sees of each answer.
import OpenAI from "openai";
import { readFileSync } from "node:fs";

const results = [];
for (const question of JSON.parse(readFileSync(0, "utf8"))) {
  const client = new OpenAI({ baseURL: question.base_url, apiKey: "sk-client", maxRetries: question.retries ?? 0 });
  const request = { model: "gpt-4o", messages: [{ role: "user", content: question.content }], stream: question.stream };
  const seen = { text: "", finish: null, error: null };
  try {
    const answer = await client.chat.completions.create(request);
    if (question.stream) {
      for await (const chunk of answer) {
        for (const choice of chunk.choices) {
          seen.text += choice.delta.content ?? "";
          seen.finish = choice.finish_reason ?? seen.finish;
        }
      }
    } else {
      seen.text = answer.choices[0].message.content;
      seen.finish = answer.choices[0].finish_reason;
    }
  } catch (error) {
    seen.error = { kind: error.constructor.name, status: error.status ?? null, code: error.code ?? null };
  }
  results.push(seen);
}
console.log(JSON.stringify(results));
