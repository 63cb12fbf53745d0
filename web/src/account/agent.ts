/** What a browser's own name for itself says to people: `Chrome 141 · Windows`. Empty when it says nothing known. */
export function device(agent: string): string {
  const browsers: [RegExp, string][] = [
    [/MicroMessenger\/(\d+)/, 'WeChat'],
    [/Edg(?:e|A|iOS)?\/(\d+)/, 'Edge'],
    [/(?:HuaweiBrowser)\/(\d+)/, 'Huawei'],
    [/Firefox\/(\d+)/, 'Firefox'],
    [/(?:Headless)?Chrome\/(\d+)/, 'Chrome'],
    [/Version\/(\d+).*Safari/, 'Safari'],
  ]
  const systems: [RegExp, string][] = [
    [/HarmonyOS|OpenHarmony/, 'HarmonyOS'],
    [/Android/, 'Android'],
    [/iPhone|iPad/, 'iOS'],
    [/Windows/, 'Windows'],
    [/Mac OS X/, 'macOS'],
    [/Linux/, 'Linux'],
  ]
  const found = browsers.map(([pattern, name]) => [pattern.exec(agent)?.[1], name] as const).find(([version]) => version)
  const system = systems.find(([pattern]) => pattern.test(agent))?.[1]
  return [found ? `${found[1]} ${found[0]}` : '', system ?? ''].filter(Boolean).join(' · ')
}
